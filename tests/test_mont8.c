/* Goal: eight numbers at once are multiplied, squared and reduced as one is. Method: t_mont.h. What is left
 * out where the processor lacks AVX-512 IFMA is said. */
#include "engine/cpu.h"

#ifdef __x86_64__

#include "engine/mont8.h"

enum { FLOATING = 0 };

#include "tests/t_mont.h"

Test(mont8, computes_what_libcrypto_computes, .timeout = 120)
{
    if (cm_cpu_level() < CM_CPU_IFMA)
        cr_skip_test("this processor has no AVX-512 IFMA, or it is switched off");
    check_all();
}

#endif
