#ifndef CM_ENGINE_CPU_H
#define CM_ENGINE_CPU_H

/* cpu.h - which vector arithmetic this processor has; each level has those before it.
 *
 *  Threads    any.
 *  Building   CM_CPU_MOST, a level, keeps the library from using more: for measuring and testing what other
 *             processors run (docs/speed.md).
 */
enum cm_cpu {
    CM_CPU_PLAIN, /* nothing beyond 64-bit words is used */
    CM_CPU_FMA,   /* AVX2 and FMA: fused multiply-adds of four doubles */
    CM_CPU_IFMA   /* AVX-512 F, DQ and IFMA: 52-bit multiply-adds of eight numbers */
};

enum cm_cpu cm_cpu_level(void);

#endif
