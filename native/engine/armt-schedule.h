#pragma once

// Which step comes next for several sequences. Nothing here uses ggml.
//
// With config.n_lanes > 0, all sequences share one pipeline of diagonals. In a step, each segment in it advances by one
// layer, and up to n_lanes segments of different sequences enter, each in a lane of its own. A segment stays in its
// lane, so a layer's cells are those of the segments that entered together. When the last segment of one text has left
// layer 0, the next text's first one follows it at once, instead of waiting until the pipeline is empty.

#include "armt-sequence.h"

#include <vector>

// The next step of the wanted sequences, if there is anything to do. Others that share the pipeline advance with them.
// close: as armt_sequence::next_move
bool armt_next_step(const armt_config & config, const std::vector<armt_sequence> & sequences,
                    const std::vector<llama_seq_id> & wanted, bool close, armt_step & step);

// The next step that advances the segments of a sequence in flight and lets no other in.
bool armt_next_flight_step(const armt_config & config, const std::vector<armt_sequence> & sequences,
                           llama_seq_id seq_id, armt_step & step);
