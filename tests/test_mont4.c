/* Goal: four numbers at once are multiplied, squared and reduced as one is, by doubles, however the caller
 * rounds, and the caller's rounding comes back. Method: t_mont.h under each of the four modes. What is left
 * out where the processor lacks AVX2 or FMA is said. */
#include "engine/cpu.h"

#ifdef __x86_64__

#include "engine/mont4.h"

enum { FLOATING = 1 };

#include "tests/t_mont.h"

Test(mont4, computes_what_libcrypto_computes, .timeout = 240)
{
    static const uint32_t modes[] = { _MM_ROUND_NEAREST, _MM_ROUND_DOWN, _MM_ROUND_UP,
                                      _MM_ROUND_TOWARD_ZERO };
    const uint32_t before = _mm_getcsr();

    if (cm_cpu_level() < CM_CPU_FMA)
        cr_skip_test("this processor has no AVX2 or no FMA, or they are switched off");
    for (size_t i = 0; i < CM_COUNT(modes); i++) {
        _mm_setcsr((before & ~(uint32_t) _MM_ROUND_MASK) | modes[i]);
        check_all();
        cr_assert_eq(_mm_getcsr() & _MM_ROUND_MASK, modes[i], "the caller's rounding is gone");
    }
    _mm_setcsr(before);
}

#endif
