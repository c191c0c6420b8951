#ifndef CM_TESTS_FUZZ_FUZZ_H
#define CM_TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* fuzz.h - what every fuzz target defines. With the `fuzz` preset (clang) libFuzzer
 * calls it; otherwise replay_main.c runs the corpus of the target's name through it,
 * so that every finding stays a test. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#endif
