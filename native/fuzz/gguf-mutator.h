#pragma once

#include <cstddef>
#include <cstdint>

// Changes the header of a GGUF file, mostly so that it stays well-formed: a number, the bytes of a text, a key or a
// tensor less. Otherwise nearly every change would be refused by the parser. Returns the new size.
size_t gguf_mutate(uint8_t * data, size_t size, size_t max_size, unsigned int seed);
