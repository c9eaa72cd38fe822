#include "armt-sequence.h"

#include <algorithm>

static uint32_t pad(uint32_t n, uint32_t multiple) {
    return (n + multiple - 1) / multiple * multiple;
}

uint32_t armt_config::n_kv(uint32_t n_rows) const {
    return std::min(n_prev_max + pad(n_rows, n_kv_multiple), n_kv_max);
}

llama_pos armt_sequence::pos_last() const {
    return empty() ? -1 : pos_open + llama_pos(n_open + pending.size()) - 1;
}

void armt_sequence::clear() {
    *this = armt_sequence();
    stale = true;
}

void armt_sequence::push(llama_token token, llama_pos pos, int32_t out) {
    if (empty()) {
        pos_first = pos_open = pos;
    }
    pending.push_back({token, out});
}

uint32_t armt_sequence::segment_size(const armt_config & config) const {
    const uint64_t start = pos_open - pos_first;
    const uint64_t size  = start == 0 ? plan.n_first : plan.n_each;
    // the plan's last segment stays open and may be filled up
    return plan.n_total > 0 && start + size < plan.n_total ? uint32_t(size) : config.n_segment;
}

// index in the open segment of the first token with an output, among the first n_max
uint32_t armt_sequence::find_first_output(uint32_t n_max) const {
    if (first_output != UINT32_MAX) {
        return first_output;
    }
    for (uint32_t i = n_open; i < n_max && i - n_open < pending.size(); ++i) {
        if (pending[i - n_open].out >= 0) {
            return i;
        }
    }
    return UINT32_MAX;
}

uint32_t armt_sequence::capacity(const armt_config & config) const {
    const uint32_t size  = segment_size(config);
    const bool     grows = config.grows_if_told ? first_output != UINT32_MAX : find_first_output(size) < size;
    return config.extend && grows ? std::max(size, config.n_segment_max) : size;
}

void armt_sequence::set_growth(const armt_config & config, bool grows) {
    const uint32_t n_text = n_open + uint32_t(pending.size());
    if (grows) {
        first_output = std::min(first_output, n_text);
    } else if (n_text <= segment_size(config)) {
        first_output = UINT32_MAX;
    }
}

uint64_t armt_sequence::n_rows_before(const armt_config & config) const {
    return uint64_t(pos_open - pos_first) + n_segments * (config.n_sink + config.n_mem);
}

bool armt_sequence::fits(const armt_config & config, const std::vector<bool> & outputs, bool close) const {
    if (!config.extend && config.n_position == 0) {
        return true;
    }
    armt_sequence next = *this;
    for (const bool output : outputs) {
        next.push(0, 0, output ? 0 : -1);
    }
    const auto has_positions = [&](uint32_t n_rows) {
        return config.n_position == 0 || next.n_rows_before(config) + config.n_sink + n_rows <= config.n_position;
    };
    for (;;) {
        const uint32_t n_tokens = next.n_open + next.pending.size();
        const uint32_t room     = next.capacity(config);
        if (n_tokens <= room) {
            return has_positions(n_tokens + (close ? config.n_mem : 0));
        }
        if (room > next.segment_size(config) || !has_positions(room + config.n_mem)) {
            return false;
        }
        next.pending.erase(next.pending.begin(), next.pending.begin() + (room - next.n_open));
        next.open_segment(room);
    }
}

bool armt_sequence::wants_output() const {
    return std::any_of(pending.begin(), pending.end(), [](const armt_pending & token) { return token.out >= 0; });
}

bool armt_sequence::flight_wants_output() const {
    return std::any_of(cells.begin(), cells.end(), [](const in_flight & cell) { return !cell.outputs.empty(); });
}

bool armt_sequence::is_contiguous(const armt_config & config) const {
    for (size_t i = 0; i < cells.size(); ++i) {
        // without shared diagonals, a sequence has one lane, that of its number
        if ((config.n_lanes > 0 && cells[i].lane != 0) || cells[i].layer != cells[0].layer - i) {
            return false;
        }
    }
    return true;
}

bool armt_sequence::can_enter(const armt_config & config, uint32_t n_text) const {
    if (cells.empty()) {
        return true;
    }
    // steps without a new segment, for an output of one in flight, leave layers between layer 0 and the youngest
    return n_flight == n_text && !open_in_flight && (config.n_lanes > 0 || cells.back().layer == 1);
}

bool armt_sequence::joins_flight(const armt_config & config) const {
    const size_t n_rows = n_reread() + pending.size();
    return n_in_flight() > 0 && is_contiguous(config) && cells.back().layer == 1 && can_enter(config, n_flight) &&
           n_open == 0 && wants_output() && n_rows <= n_flight &&
           n_flight - n_rows + config.n_mem <= config.n_padding_max;
}

armt_move armt_sequence::next_move(const armt_config & config, bool close, armt_company company) const {
    const uint32_t room = capacity(config) - n_open;

    // A segment closes only when a token beyond it arrives. Until then tokens may be removed from it, or its logits
    // requested.
    if (pending.size() > room) {
        // The diagonals of a single segment have one cell each: one graph for each layer, where the sequential schedule
        // needs one graph in all.
        const bool is_single =
            company != ARMT_ACTIVE && cells.empty() && pending.size() <= 2 * size_t(room) && (close || wants_output());
        const bool is_faster_sequential = config.automatic && is_single && room <= config.n_rows_max;
        if (config.diagonal && n_open == 0 && can_enter(config, n_reread() + room) && !is_faster_sequential) {
            return {armt_move::DIAGONAL, room, true, true};
        }
        if (!cells.empty()) {
            return {armt_move::DIAGONAL, 0, false, true};
        }
        return {armt_move::OPEN, std::min(room, config.n_rows_max), room <= config.n_rows_max, true};
    }
    const bool closes  = close && n_open + pending.size() > 0;
    const bool compute = closes || wants_output();
    if (!cells.empty() && (close || compute || flight_wants_output())) {
        const bool joins = !close && company == ARMT_ALONE && joins_flight(config);
        return {armt_move::DIAGONAL, joins ? uint32_t(pending.size()) : 0, false, false};
    }
    if (compute) {
        const uint32_t n_text = std::min<uint32_t>(pending.size(), config.n_rows_max);
        return {armt_move::OPEN, n_text, closes && n_text == pending.size(), false};
    }
    return {};
}

bool armt_sequence::next_step(const armt_config & config, armt_step & step, bool close) const {
    const armt_move move = next_move(config, close, ARMT_ALONE);
    if (move.kind == armt_move::OPEN) {
        make_open(config, step, move.n_text, move.close);
    } else if (move.kind == armt_move::DIAGONAL) {
        make_diagonal(config, step, move.n_text);
    }
    return move.kind != armt_move::NONE;
}

bool armt_sequence::next_flight_step(const armt_config & config, armt_step & step) const {
    if (n_in_flight() == 0) {
        return false;
    }
    make_diagonal(config, step, 0);
    return true;
}

void armt_sequence::take_pending(uint32_t n, armt_step & step) const {
    if (n_open == 0) {
        step.tokens.insert(step.tokens.end(), reread.begin(), reread.end());
    }
    for (uint32_t i = 0; i < n; ++i) {
        step.tokens.push_back(pending[i].token);
    }
}

std::vector<armt_output> armt_sequence::pending_outputs(uint32_t n) const {
    std::vector<armt_output> outputs;
    for (uint32_t i = 0; i < n; ++i) {
        if (pending[i].out >= 0) {
            outputs.push_back({n_reread() + i, pending[i].out});
        }
    }
    return outputs;
}

void armt_sequence::make_diagonal(const armt_config & config, armt_step & step, uint32_t n_inject) const {
    const bool is_flying = n_in_flight() > 0;
    const bool inject    = n_inject > 0;

    step                     = armt_step();
    step.type                = ARMT_STEP_DIAGONAL;
    step.inject              = inject;
    step.open_cell           = inject ? n_inject == pending.size() : open_in_flight;
    step.n_text              = inject && !step.open_cell ? n_reread() + n_inject : n_flight;
    step.n_mem               = config.n_mem;
    step.n_sink              = config.n_sink;
    step.layer0              = inject ? 0 : cells.back().layer;
    step.layer1              = is_flying ? cells.front().layer + 1 : 1;
    step.n_kv                = config.n_kv(step.n_rows());
    step.n_before            = {n_rows_before(config)};
    step.n_prev              = {step.n_text, is_flying ? n_prev_oldest : n_prev};
    step.oldest_has_own_mask = config.n_prev_max > 0 && step.n_prev[1] != step.n_text;
    step.whole               = step.n_text == config.n_text_whole() && !step.oldest_has_own_mask;
    if (inject) {
        take_pending(n_inject, step);
        step.tokens.resize(step.n_text, step.tokens.back()); // padding, which causal attention hides
    }
    const uint64_t youngest = inject || step.open_cell ? n_segments : n_segments - 1;
    for (uint32_t il = step.layer0; il < step.layer1; ++il) {
        step.first_in_layer.push_back(youngest - (il - step.layer0) == 0);
    }
    if (step.layer1 == config.n_layer) {
        std::vector<armt_output> outputs;
        if (is_flying) {
            outputs = cells.front().outputs;
        } else { // a model of one layer
            outputs = pending_outputs(n_inject);
        }
        for (const armt_output & output : outputs) {
            step.out_rows.push_back(step.n_sink + output.row);
            step.outs.push_back(output.out);
        }
    }
}

void armt_sequence::make_open(const armt_config & config, armt_step & step, uint32_t n_text, bool close) const {
    const uint32_t n_more = n_open == 0 ? n_reread() : 0;

    step          = armt_step();
    step.type     = ARMT_STEP_OPEN;
    step.n_text   = n_more + n_text;
    step.n_mem    = close ? config.n_mem : 0;
    step.first    = n_segments == 0;
    step.n_sink   = n_open == 0 ? config.n_sink : 0;
    step.n_past   = {n_cached(config)};
    step.n_prev   = {n_prev};
    step.n_before = {n_rows_before(config)};
    step.whole    = n_open == 0 && step.n_text == config.n_text_whole() && step.n_mem > 0 &&
                 (config.n_prev_max == 0 || n_prev == config.n_segment);
    // With few rows, n_kv grows in large steps, so that the next step can reuse the graph. With many, it is as small as
    // possible.
    const uint32_t n_seen = step.n_past[0] + step.n_rows();
    step.n_kv = step.n_rows() <= 8 && !step.whole ? std::min(config.n_prev_max + pad(n_seen, 256), config.n_kv_max)
                                                  : config.n_kv(n_seen);
    take_pending(n_text, step);
    for (uint32_t i = 0; i < n_text; ++i) {
        if (pending[i].out >= 0) {
            step.out_rows.push_back(step.n_sink + n_more + i);
            step.outs.push_back(pending[i].out);
        }
    }
}

void armt_sequence::finish_step(const armt_config & config, const armt_step & step) {
    checked = false;
    if (step.type == ARMT_STEP_DIAGONAL) {
        finish_diagonal(config, step);
    } else {
        finish_open(config, step);
    }
}

void armt_sequence::finish_diagonal(const armt_config & config, const armt_step & step) {
    if (step.inject) {
        const uint32_t n_text = step.open_cell ? uint32_t(pending.size()) : step.n_text - n_reread();

        if (cells.empty()) {
            n_prev_oldest = n_prev;
        }
        cells.push_back({0, step.lane, pending_outputs(n_text)});
        n_flight = step.n_text;
        take_into_open(config, n_text);
        if (!step.open_cell) {
            open_segment(n_text);
        }
    }
    open_in_flight = step.open_cell;
    stats.n_cells += n_closed_in_flight();
    for (in_flight & cell : cells) {
        cell.layer++;
    }
    if (cells.front().layer == config.n_layer) {
        cells.pop_front();
        n_prev_oldest = n_flight;
    }
    open_in_flight = open_in_flight && !cells.empty();
}

void armt_sequence::finish_open(const armt_config & config, const armt_step & step) {
    take_into_open(config, step.n_text - (n_open == 0 ? n_reread() : 0));
    if (step.n_mem > 0) {
        open_segment(n_open);
        stats.n_cells += config.n_layer;
    }
}

// Moves pending tokens into the open segment. Their K/V is in the cache now, or will be when their cell has run.
void armt_sequence::take_into_open(const armt_config & config, uint32_t n_text) {
    if (first_output == UINT32_MAX && !config.grows_if_told) {
        first_output = find_first_output(n_open + n_text);
    }
    for (uint32_t i = 0; i < n_text && config.n_reread_max > 0; ++i) {
        open_text.push_back(pending[i].token);
    }
    pending.erase(pending.begin(), pending.begin() + n_text);
    n_open += n_text;
}

// Closes a segment of n_text tokens and opens the next.
void armt_sequence::open_segment(uint32_t n_text) {
    pos_open += llama_pos(n_text);
    n_prev = n_text;
    reread = std::move(open_text);
    n_open = 0;
    open_text.clear();
    first_output = UINT32_MAX;
    n_segments++;
}

bool armt_sequence::truncate(llama_pos p0) {
    if (p0 > pos_last()) {
        return true;
    }
    if (p0 < pos_open) {
        return false;
    }
    const uint32_t n_keep = p0 - pos_open;
    pending.resize(n_keep > n_open ? n_keep - n_open : 0);
    n_open = std::min(n_open, n_keep);
    open_text.resize(std::min<size_t>(open_text.size(), n_open));
    if (first_output != UINT32_MAX && first_output >= n_keep) {
        first_output = UINT32_MAX;
    }
    return true;
}

armt_sequence armt_sequence::closed_part() const {
    armt_sequence part = *this;
    part.truncate(pos_open);
    return part;
}

void armt_sequence::forget_outputs() {
    for (armt_pending & token : pending) {
        token.out = -1;
    }
    for (in_flight & cell : cells) {
        cell.outputs.clear();
    }
}
