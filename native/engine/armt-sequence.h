#pragma once

// What the engine knows about one sequence besides its tensors, and which step comes next for it. Nothing here uses
// ggml.

#include "armt-api.h"
#include "armt-step.h"

#include <deque>
#include <vector>

// What the steps of all sequences of a context have in common
struct armt_config {
    bool     diagonal      = false;
    bool     automatic     = false; // the engine chose the schedule
    bool     extend        = false; // the open segment grows once one of its outputs has been requested
    bool     grows_if_told = false; // with extend: it grows after set_growth() instead
    uint32_t n_layer       = 0;
    uint32_t max_cells     = 0; // layers of a diagonal in one product
    uint32_t n_lanes       = 0; // cells of a shared diagonal in one layer; 0: each sequence has its own diagonals
    uint32_t n_mem         = 0; // memory tokens, M
    uint32_t n_sink        = 0; // rows before the text
    uint32_t n_segment     = 0; // text tokens in a segment, S
    uint32_t n_segment_max = 0; // text tokens in an extended segment
    uint32_t n_position    = 0; // rows of all segments for which there are positions; 0: no bound
    uint32_t n_rows_max    = 0; // new tokens of one step of an open segment
    uint32_t n_reread_max  = 0; // rows at a segment's start for the text of the segment before; 0: not read again
    uint32_t n_prev_max    = 0; // first rows of a sequence's K/V cache, for the text of the segment before; 0: not kept
    uint32_t n_prev_gap    = 0; // positions from the last kept key to a segment's first row, besides one
    bool     restarts      = false; // positions start at 0 although keys are kept
    uint32_t n_kv_max      = 0;     // rows of the K/V cache of a sequence
    uint32_t n_kv_multiple = 0;     // attention sees a multiple of this many of them
    uint32_t fp8_products  = 0;     // products in e4m3, a sum of enum armt_product
    uint32_t n_padding_max = 0;     // padding rows that are worthwhile to run an open segment's cells in a diagonal

    // text rows of a whole segment, after a whole one
    uint32_t n_text_whole() const { return n_reread_max + n_segment; }

    // rows of the K/V cache that the attention of a segment's first n_rows rows sees
    uint32_t n_kv(uint32_t n_rows) const;

    // position of a segment's first row, after a segment of n_prev text tokens
    uint32_t first_pos(uint32_t n_prev) const {
        return n_prev_max == 0 || restarts || n_prev == 0 ? 0 : n_prev + n_prev_gap;
    }
};

// Segment sizes of a prompt whose length is known (segment_alignment)
struct armt_plan {
    uint64_t n_first = 0;
    uint64_t n_each  = 0;
    uint64_t n_total = 0; // 0: no plan
};

struct armt_pending {
    llama_token token;
    int32_t     out; // row in the context's output buffer, -1: none
};

// Who else uses the pipeline of diagonals
enum armt_company {
    ARMT_ALONE,  // nobody
    ARMT_PARKED, // others have segments in it, and nothing to do now
    ARMT_ACTIVE, // others take part in the next diagonal
};

// What a sequence needs next
struct armt_move {
    enum kind_type {
        NONE,
        OPEN,     // a step of the open segment
        DIAGONAL, // its segments in flight advance by a layer
    };

    kind_type kind   = NONE;
    uint32_t  n_text = 0; // tokens of the open segment's step, or of the segment that enters the diagonal; 0: none does
    bool      close  = false; // OPEN: the segment closes
    bool      more   = false; // OPEN: tokens of the next segment wait
};

class armt_sequence {
public:
    // Positions of the first token, of the open segment's first token, and of the last token (-1: empty)
    llama_pos pos_first = 0;
    llama_pos pos_open  = 0;
    llama_pos pos_last() const;

    uint32_t n_open     = 0; // tokens of the open segment in the K/V cache
    uint64_t n_segments = 0; // segments closed, those in flight included
    uint32_t n_prev     = 0; // text tokens of the segment that was closed last

    // Tokens that are not computed yet. They wait until their segment is known to close, so that it can go through the
    // layers as a whole, or until an output of the open segment is requested.
    std::deque<armt_pending> pending;

    // If segments begin with the text of the segment before: that text, and the n_open tokens of the open segment
    std::vector<llama_token> reread;
    std::vector<llama_token> open_text;

    // The open segment's first computed token with an output, or its length when it was told to grow; UINT32_MAX: none
    uint32_t first_output = UINT32_MAX;

    armt_plan plan;

    // A and z must be zeroed before the next step
    bool stale = false;

    // Segments that had passed all layers when the engine last looked whether the memory is finite
    uint64_t n_looked = 0;

    // All numbers are known to be finite
    bool checked = false;

    armt_sequence_stats stats = {};

    bool empty() const { return n_segments == 0 && n_open == 0 && pending.empty(); }
    // A segment that has not passed all layers. All of a sequence have n_flight_text() text rows.
    struct in_flight {
        uint32_t                 layer = 0; // the next one that computes it
        uint32_t                 lane  = 0; // which of the cells in that layer it is, and in all that follow
        std::vector<armt_output> outputs;
    };

    const std::deque<in_flight> & flight() const { return cells; } // oldest first

    uint32_t n_in_flight() const { return uint32_t(cells.size()); }
    uint32_t n_closed_in_flight() const { return n_in_flight() - (open_in_flight ? 1 : 0); }
    // closed segments that have passed all layers
    uint64_t n_passed() const { return n_segments - n_closed_in_flight(); }
    uint32_t n_flight_text() const { return n_flight; }
    bool     has_open_in_flight() const { return open_in_flight; }
    // Whether one diagonal of its own can compute the segments in flight: they are in consecutive layers of one
    // lane, the first if lanes are shared
    bool is_contiguous(const armt_config & config) const;
    // rows of the open segment in the K/V cache
    uint32_t n_cached(const armt_config & config) const { return n_open > 0 ? config.n_sink + n_reread() + n_open : 0; }
    // rows at the open segment's start for the text of the segment before
    uint32_t n_reread() const { return uint32_t(reread.size()); }

    void clear();

    // Lets the open segment grow, until tokens that it has now are removed. Without `grows`, takes that back; a segment
    // that has grown stays as it is.
    void set_growth(const armt_config & config, bool grows);

    // Appends a token at pos_last() + 1. pos is used only if the sequence is empty.
    void push(llama_token token, llama_pos pos, int32_t out);

    // Text tokens of the open segment once it is full, if it does not grow
    uint32_t segment_size(const armt_config & config) const;

    // Text tokens that the open segment holds before it closes
    uint32_t capacity(const armt_config & config) const;

    // Rows of the segments before the open one
    uint64_t n_rows_before(const armt_config & config) const;

    // Whether one more token for each element of outputs fits, with an output if the element is set, and the segment
    // can be closed then if close is set. False only if an extended segment or the positions would exceed their limit.
    bool fits(const armt_config & config, const std::vector<bool> & outputs, bool close = false) const;

    // What is next. close: computes everything and closes the open segment, whatever its length.
    armt_move next_move(const armt_config & config, bool close, armt_company company) const;

    // The next step, if there is anything to do, without other sequences.
    bool next_step(const armt_config & config, armt_step & step, bool close) const;

    // The next step that advances the segments in flight and lets no other in.
    bool next_flight_step(const armt_config & config, armt_step & step) const;

    // Appends the first n pending tokens to those of a step, after the text to read again if they are the first of
    // their segment.
    void take_pending(uint32_t n, armt_step & step) const;

    // The outputs among the first n pending tokens, if these are the first of their segment
    std::vector<armt_output> pending_outputs(uint32_t n) const;

    // Records that a step of next_step, or the sequence's part of a shared one, has been computed.
    void finish_step(const armt_config & config, const armt_step & step);

    // Removes the tokens from position p0 on. Changes nothing and returns false if p0 lies before the open segment.
    bool truncate(llama_pos p0);

    // A copy without the open segment. For a sequence with nothing in flight.
    armt_sequence closed_part() const;

    // Drops all outputs that are not computed yet.
    void forget_outputs();

private:
    // All have n_flight text rows; the open segment, which may be the youngest, is padded to that. In diagonals of
    // their own they are in consecutive layers.
    std::deque<in_flight> cells; // oldest first
    uint32_t              n_flight       = 0;
    bool                  open_in_flight = false;
    uint32_t              n_prev_oldest  = 0; // text tokens of the segment before the oldest one

    uint32_t find_first_output(uint32_t n_max) const;
    bool     wants_output() const;
    bool     flight_wants_output() const;
    // Whether a segment of n_text text rows can enter layer 0: the pipeline is empty, or its youngest segment has this
    // length and, where diagonals are not shared, has just left that layer
    bool can_enter(const armt_config & config, uint32_t n_text) const;
    // Whether the open segment's first tokens (all that is pending) follow the segments in flight through the layers,
    // rather than having a step of their own
    bool joins_flight(const armt_config & config) const;

    // n_inject: text tokens of the segment that enters; 0: none
    void make_diagonal(const armt_config & config, armt_step & step, uint32_t n_inject) const;
    void make_open(const armt_config & config, armt_step & step, uint32_t n_text, bool close) const;

    void finish_diagonal(const armt_config & config, const armt_step & step);
    void finish_open(const armt_config & config, const armt_step & step);
    void take_into_open(const armt_config & config, uint32_t n_text);
    void open_segment(uint32_t n_text);
};
