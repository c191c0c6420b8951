#include "engine/cpu.h"

#ifndef CM_CPU_MOST
#define CM_CPU_MOST CM_CPU_IFMA
#endif

static enum cm_cpu found(void)
{
#ifdef __x86_64__
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
        return CM_CPU_PLAIN;
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512dq") ||
        !__builtin_cpu_supports("avx512ifma"))
        return CM_CPU_FMA;
    return CM_CPU_IFMA;
#else
    return CM_CPU_PLAIN;
#endif
}

enum cm_cpu cm_cpu_level(void)
{
    const enum cm_cpu most = CM_CPU_MOST, here = found();

    return here < most ? here : most;
}
