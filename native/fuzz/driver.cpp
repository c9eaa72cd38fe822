// Runs a target with random changes of a corpus. The target has libFuzzer's interface, but any compiler builds it, and
// the libraries are the ones that are published. Inputs run in a child process: one that ends the process is kept.
//
// Arguments: folder of the corpus, number of the first input, number of inputs, folder for inputs that end the process.
// The same number gives the same input. The last line counts inputs and ends. With one argument, a file, that input
// runs.

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

namespace fs = std::filesystem;

using bytes = std::vector<uint8_t>;

extern "C" int    LLVMFuzzerInitialize(int * argc, char *** argv);
extern "C" int    LLVMFuzzerTestOneInput(const uint8_t * data, size_t size);
extern "C" size_t LLVMFuzzerCustomMutator(uint8_t * data, size_t size, size_t max_size, unsigned int seed)
    __attribute__((weak));

// Bounds for one input
static constexpr rlim_t   MAX_MEMORY  = 6ull << 30;
static constexpr unsigned MAX_SECONDS = 20;

// Room for what a mutation adds. Unit: bytes
static constexpr size_t MAX_ADDED = 4096;

static std::mt19937 generator;

extern "C" size_t LLVMFuzzerMutate(uint8_t * data, size_t size, size_t) {
    if (size == 0) {
        return 0;
    }
    for (size_t n = 1 + generator() % 4; n > 0; --n) {
        uint8_t & byte = data[generator() % size];
        switch (generator() % 4) {
            case 0: byte = 0; break;
            case 1: byte = 0xff; break;
            case 2: byte = uint8_t(generator()); break;
            default: byte = uint8_t(byte ^ (1u << (generator() % 8)));
        }
    }
    return generator() % 16 == 0 ? generator() % (size + 1) : size;
}

static bytes make_input(const std::vector<bytes> & corpus, unsigned number) {
    generator.seed(number);
    bytes        input = corpus[generator() % corpus.size()];
    const size_t size  = input.size();
    input.resize(size + MAX_ADDED);
    const auto mutate = [&] {
        return LLVMFuzzerCustomMutator != nullptr ? LLVMFuzzerCustomMutator(input.data(), size, input.size(), number)
                                                  : LLVMFuzzerMutate(input.data(), size, input.size());
    };
    input.resize(mutate());
    return input;
}

static bytes read_file(const fs::path & path) {
    std::ifstream in(path, std::ios::binary);
    return bytes(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
}

static std::vector<bytes> read_corpus(const std::string & folder) {
    std::vector<fs::path> paths;
    for (const auto & entry : fs::directory_iterator(folder)) {
        paths.push_back(entry.path());
    }
    std::sort(paths.begin(), paths.end());
    std::vector<bytes> corpus;
    for (const fs::path & path : paths) {
        corpus.push_back(read_file(path));
    }
    return corpus;
}

static void run_inputs(const std::vector<bytes> & corpus, unsigned first, unsigned end, int report) {
    const rlimit limit = {MAX_MEMORY, MAX_MEMORY};
    setrlimit(RLIMIT_AS, &limit);
    for (unsigned number = first; number < end; ++number) {
        if (write(report, &number, sizeof(number)) != sizeof(number)) {
            _exit(1);
        }
        const bytes input = make_input(corpus, number);
        alarm(MAX_SECONDS);
        LLVMFuzzerTestOneInput(input.data(), input.size());
    }
}

int main(int argc, char ** argv) {
    if (argc == 2) {
        const bytes input = read_file(argv[1]);
        LLVMFuzzerInitialize(&argc, &argv);
        return LLVMFuzzerTestOneInput(input.data(), input.size());
    }
    if (argc < 5) {
        fprintf(stderr, "usage: %s CORPUS FIRST COUNT FOLDER\n", argv[0]);
        return 2;
    }
    const std::vector<bytes> corpus = read_corpus(argv[1]);
    const unsigned           first  = unsigned(atoi(argv[2]));
    const unsigned           end    = first + unsigned(atoi(argv[3]));
    LLVMFuzzerInitialize(&argc, &argv);

    unsigned n_ends = 0;
    for (unsigned number = first; number < end;) {
        int ends[2];
        if (corpus.empty() || pipe(ends) != 0) {
            return 1;
        }
        const pid_t child = fork();
        if (child == 0) {
            close(ends[0]);
            run_inputs(corpus, number, end, ends[1]);
            _exit(0);
        }
        close(ends[1]);
        unsigned last = number;
        for (unsigned next; read(ends[0], &next, sizeof(next)) == sizeof(next);) {
            last = next;
        }
        close(ends[0]);
        int status = 0;
        waitpid(child, &status, 0);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
            break;
        }
        const bytes   input = make_input(corpus, last);
        std::ofstream out(std::string(argv[4]) + "/input-" + std::to_string(last), std::ios::binary);
        out.write(reinterpret_cast<const char *>(input.data()), std::streamsize(input.size()));
        n_ends++;
        number = last + 1;
    }
    printf("%u inputs, %u ended the process\n", end - first, n_ends);
    return 0;
}
