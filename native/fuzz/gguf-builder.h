#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

// Turns the bytes of an input into choices. Bytes that are missing are zeros, which choose the first.
class choices {
public:
    choices(const uint8_t * data, size_t size) : data(data), size(size) {}

    uint32_t below(uint32_t n) { return byte() % n; }

    bool flag() { return byte() % 2 != 0; }

    // Once in 16 times not one of the usual numbers, but any of 32 bits
    uint32_t number(std::initializer_list<uint32_t> usual);

    template <typename T> T one_of(std::initializer_list<T> values) { return values.begin()[below(values.size())]; }

private:
    const uint8_t * data;
    size_t          size;
    size_t          at = 0;

    uint8_t byte() { return at < size ? data[at++] : 0; }
};

// A GGUF file of an ARMT model without a vocabulary (docs/model-file.md), with weights that are finite in every type
std::vector<uint8_t> build_gguf(choices & choose);
