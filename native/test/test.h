#pragma once

// TEST("what holds") { .. CHECK(condition); CHECK_EQUAL(value, expected); .. } in any number, and one run_tests() in
// main.

#include <cstdio>
#include <exception>
#include <functional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

struct test_case {
    const char *          name;
    std::function<void()> run;
};

inline std::vector<test_case> & all_tests() {
    static std::vector<test_case> tests;
    return tests;
}

struct test_registration {
    test_registration(const char * name, void (*run)()) { all_tests().push_back({name, run}); }
};

#define ARMT_JOIN_2(a, b) a##b
#define ARMT_JOIN(a, b)   ARMT_JOIN_2(a, b)
#define TEST(name)                                                                                                     \
    static void                    ARMT_JOIN(test_at_, __LINE__)();                                                    \
    static const test_registration ARMT_JOIN(registration_at_, __LINE__)(name, ARMT_JOIN(test_at_, __LINE__));         \
    static void                    ARMT_JOIN(test_at_, __LINE__)()

[[noreturn]] inline void fail(const char * file, int line, const std::string & what) {
    throw std::runtime_error(std::string(file) + ":" + std::to_string(line) + ": " + what);
}

template <typename A, typename B>
void check_equal(const char * file, int line, const char * text, const A & actual, const B & expected) {
    if (!(actual == expected)) {
        std::ostringstream what;
        what << text << " is " << actual << ", expected " << expected;
        fail(file, line, what.str());
    }
}

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            fail(__FILE__, __LINE__, #condition);                                                                      \
    } while (false)

#define CHECK_EQUAL(actual, expected) check_equal(__FILE__, __LINE__, #actual, actual, expected)

// Returns main's exit status: 0 if all tests hold and there is at least one.
inline int run_tests() {
    size_t n_failed = 0;
    for (const test_case & test : all_tests()) {
        try {
            test.run();
            printf("ok      %s\n", test.name);
        } catch (const std::exception & error) {
            n_failed++;
            printf("FAILED  %s\n        %s\n", test.name, error.what());
        }
    }
    printf("%zu passed, %zu failed\n", all_tests().size() - n_failed, n_failed);
    return n_failed == 0 && !all_tests().empty() ? 0 : 1;
}
