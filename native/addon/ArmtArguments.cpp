#include "ArmtArguments.h"

#include <cmath>

double armt_integer(const Napi::Value & value, const char * name, double min, double max) {
    const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : NAN;
    if (!(number >= min && number <= max) || number != std::floor(number)) {
        throw std::runtime_error(std::string("`") + name + "` has to be an integer from " +
                                 std::to_string(static_cast<int64_t>(min)) + " to " +
                                 std::to_string(static_cast<int64_t>(max)));
    }
    return number;
}
