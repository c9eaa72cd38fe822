#pragma once

// Whether the GPU multiplies in e4m3
bool has_fp8();

// One product at a time, for all types of weights. Returns the number of wrong results.
int check_fp8_products();
