#include "gguf-mutator.h"

#include <cstring>
#include <random>
#include <vector>

extern "C" size_t LLVMFuzzerMutate(uint8_t * data, size_t size, size_t max_size);

namespace {

struct range {
    size_t begin;
    size_t end;

    size_t size() const { return end - begin; }
};

// The parts of a header; what follows a part that cannot be parsed is left out.
struct gguf_parts {
    std::vector<range> numbers; // values of keys, dimensions, types, offsets
    std::vector<range> lengths; // of texts and arrays, and counts
    std::vector<range> texts;   // without their lengths
    std::vector<range> keys;    // whole entries
    std::vector<range> tensors;
};

constexpr size_t N_TENSORS_AT = 8;
constexpr size_t N_KEYS_AT    = 16;
constexpr size_t HEADER_SIZE  = 24;

class gguf_parser {
public:
    gguf_parser(const uint8_t * data, size_t size) : data(data), size(size) {}

    gguf_parts parse() {
        if (size < HEADER_SIZE) {
            return {};
        }
        parts.lengths = {{N_TENSORS_AT, N_KEYS_AT}, {N_KEYS_AT, HEADER_SIZE}};

        const uint64_t n_tensors = get<uint64_t>(N_TENSORS_AT);
        const uint64_t n_keys    = get<uint64_t>(N_KEYS_AT);
        at                       = HEADER_SIZE;
        bool ok                  = true;
        for (uint64_t i = 0; ok && i < n_keys; ++i) {
            const size_t begin = at;
            ok                 = text() && value();
            if (ok) {
                parts.keys.push_back({begin, at});
            }
        }
        for (uint64_t i = 0; ok && i < n_tensors; ++i) {
            const size_t begin = at;
            ok                 = text() && tensor();
            if (ok) {
                parts.tensors.push_back({begin, at});
            }
        }
        return parts;
    }

private:
    const uint8_t * data;
    size_t          size;
    size_t          at = 0;
    gguf_parts      parts;

    template <typename T> T get(size_t from) const {
        T value = {};
        memcpy(&value, data + from, sizeof(value));
        return value;
    }

    bool skip(size_t n, std::vector<range> * to) {
        if (n > size - at) {
            return false;
        }
        if (to != nullptr && n > 0) {
            to->push_back({at, at + n});
        }
        at += n;
        return true;
    }

    bool text() {
        if (!skip(8, &parts.lengths)) {
            return false;
        }
        return skip(get<uint64_t>(at - 8), &parts.texts);
    }

    // GGUF's types: 0 to 7 are u8, i8, u16, i16, u32, i32, f32, bool; 8 is text, 9 array, 10 to 12 have 8 bytes
    bool value_of(uint32_t type, std::vector<range> * to) {
        static constexpr size_t sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
        if (type == 8) {
            return text();
        }
        return type < 13 && type != 9 && skip(sizes[type], to);
    }

    bool value() {
        if (!skip(4, &parts.numbers)) {
            return false;
        }
        const uint32_t type = get<uint32_t>(at - 4);
        if (type != 9) {
            return value_of(type, &parts.numbers);
        }
        if (!skip(4, &parts.numbers) || !skip(8, &parts.lengths)) {
            return false;
        }
        const uint32_t of = get<uint32_t>(at - 12);
        const uint64_t n  = get<uint64_t>(at - 8);
        for (uint64_t i = 0; i < n; ++i) {
            if (!value_of(of, &parts.numbers)) {
                return false;
            }
        }
        return true;
    }

    bool tensor() {
        if (!skip(4, &parts.numbers)) {
            return false;
        }
        const uint32_t n_dims = get<uint32_t>(at - 4);
        for (uint32_t i = 0; i < n_dims; ++i) {
            if (!skip(8, &parts.numbers)) {
                return false;
            }
        }
        return skip(4, &parts.numbers) && skip(8, &parts.numbers);
    }
};

class gguf_mutator {
public:
    gguf_mutator(uint8_t * data, size_t size, size_t max_size, unsigned int seed)
        : data(data), size(size), max_size(max_size), random(seed) {}

    size_t run() {
        const size_t n = 1 + below(3);
        for (size_t i = 0; i < n; ++i) {
            step(gguf_parser(data, size).parse());
        }
        return size;
    }

private:
    uint8_t *    data;
    size_t       size;
    size_t       max_size;
    std::mt19937 random;

    size_t below(size_t n) { return random() % n; }

    const range * pick(const std::vector<range> & from) { return from.empty() ? nullptr : &from[below(from.size())]; }

    void step(const gguf_parts & parts) {
        const size_t  kind   = below(16);
        const range * number = pick(parts.numbers);
        const range * text   = pick(parts.texts);
        if (kind < 8 && number != nullptr) {
            set_number(*number);
        } else if (kind < 10 && text != nullptr) {
            LLVMFuzzerMutate(data + text->begin, text->size(), text->size());
        } else if (kind == 10 && pick(parts.lengths) != nullptr) {
            set_number(*pick(parts.lengths));
        } else if (kind == 11 && pick(parts.keys) != nullptr) {
            remove(*pick(parts.keys), N_KEYS_AT);
        } else if (kind == 12 && pick(parts.tensors) != nullptr) {
            remove(*pick(parts.tensors), N_TENSORS_AT);
        } else if (kind == 13 && pick(parts.keys) != nullptr) {
            repeat(*pick(parts.keys), N_KEYS_AT);
        } else if (kind == 14 && number != nullptr) {
            copy_number(*number, *pick(parts.numbers));
        } else {
            size = LLVMFuzzerMutate(data, size, max_size);
        }
    }

    void put(const range & to, uint64_t value) { memcpy(data + to.begin, &value, to.size()); }

    uint64_t get(const range & from) const {
        uint64_t value = 0;
        memcpy(&value, data + from.begin, from.size());
        return value;
    }

    void set_number(const range & to) {
        static constexpr uint64_t numbers[] = {
            0, 1, 2, 3, 4, 7, 8, 16, 31, 32, 33, 64, 127, 128, 255, 256, 512, 513, 1024, 65535, 65536, 1 << 20, 1 << 24,
            1u << 30, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff,
            // as float: 1, infinity, not a number, -1, the smallest
            0x3f800000, 0x7f800000, 0x7fc00000, 0xbf800000, 1, 1ull << 32, 1ull << 62, ~0ull, 1ull << 63};
        const uint64_t old = get(to);
        switch (below(6)) {
            case 0: put(to, old + 1); break;
            case 1: put(to, old - 1); break;
            case 2: put(to, old * 2); break;
            case 3: put(to, old ^ (1ull << below(8 * to.size()))); break;
            default: put(to, numbers[below(sizeof(numbers) / sizeof(numbers[0]))]);
        }
    }

    void copy_number(const range & to, const range & from) { put(to, get(from)); }

    void add_to_count(size_t at, int64_t n) {
        const range count = {at, at + 8};
        put(count, get(count) + uint64_t(n));
    }

    void remove(const range & part, size_t count_at) {
        memmove(data + part.begin, data + part.end, size - part.end);
        size -= part.size();
        add_to_count(count_at, -1);
    }

    void repeat(const range & part, size_t count_at) {
        if (size + part.size() > max_size) {
            return;
        }
        memmove(data + part.end + part.size(), data + part.end, size - part.end);
        memcpy(data + part.end, data + part.begin, part.size());
        size += part.size();
        add_to_count(count_at, 1);
    }
};

} // namespace

size_t gguf_mutate(uint8_t * data, size_t size, size_t max_size, unsigned int seed) {
    return gguf_mutator(data, size, max_size, seed).run();
}
