#ifndef CM_ENGINE_PEMLINE_H
#define CM_ENGINE_PEMLINE_H

#include "engine/bytes.h"
#include "engine/cpu.h"
#include "engine/err.h"

#ifdef __x86_64__
#include <immintrin.h>
#endif

/* pemline.h - base64 of one full line of PEM, by arithmetic alone: no table, so nothing to learn from cache
 * lines about a key. */
enum { CM_PEM_BYTES = 48, CM_PEM_CHARS = 64 };

static inline bool cm_pem_has_vectors(void)
{
    return cm_cpu_level() >= CM_CPU_FMA; /* and so AVX2 */
}

/* Six-bit values to characters, all at once: the compiler makes vectors of it.
 * Starting from 'A' + v, each later range of RFC 4648 table 1 adds its distance:
 * 26..51 are 'a'.., 52..61 '0'.., 62 '+', 63 '/'. A comparison that holds is
 * turned into a mask of ones. */
static inline void cm_pem_chars(uint8_t *c, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const uint8_t v = c[i];
        uint8_t x = (uint8_t) (v + 'A');
        x = (uint8_t) (x + (-(v > 25) & 6));
        x = (uint8_t) (x - (-(v > 51) & 75));
        x = (uint8_t) (x - (-(v > 61) & 15));
        x = (uint8_t) (x + (-(v > 62) & 3));
        c[i] = x;
    }
}

/* Three bytes to four six-bit values. */
static inline void cm_pem_spread(const uint8_t *in, uint8_t *out)
{
    const uint32_t w = (uint32_t) in[0] << 16 | (uint32_t) in[1] << 8 | in[2];

    out[0] = (uint8_t) (w >> 18);
    out[1] = (uint8_t) (w >> 12 & 63);
    out[2] = (uint8_t) (w >> 6 & 63);
    out[3] = (uint8_t) (w & 63);
}

static inline void cm_pem_line_plain(const uint8_t *in, uint8_t *out)
{
    for (size_t i = 0; i < CM_PEM_BYTES / 3; i++)
        cm_pem_spread(in + 3 * i, out + 4 * i);
    cm_pem_chars(out, CM_PEM_CHARS);
}

#ifdef __x86_64__
/* The same by AVX2. Each 32-bit word gets three bytes, the middle one twice, so that two multiplications
 * shift its four values apart (Mula and Lemire, "Faster Base64 Encoding and Decoding Using AVX2
 * Instructions", 2018). */
__attribute__((target("avx2"))) static inline void cm_pem_line_avx2(const uint8_t *in, uint8_t *out)
{
    /* The upper half's twelve bytes are the last of the sixteen that are loaded: nothing behind the line is
     * read. */
    const __m256i order = _mm256_setr_epi8(1, 0, 2, 1, 4, 3, 5, 4, 7, 6, 8, 7, 10, 9, 11, 10, 5, 4, 6, 5, 8,
                                           7, 9, 8, 11, 10, 12, 11, 14, 13, 15, 14);

    for (int i = 0; i < 2; i++, in += 24, out += 32) {
        const __m128i low = _mm_loadu_si128((const __m128i *) (const void *) in);
        const __m128i high = _mm_loadu_si128((const __m128i *) (const void *) (in + 8));
        const __m256i w = _mm256_shuffle_epi8(_mm256_set_m128i(high, low), order);
        const __m256i odd = _mm256_mulhi_epu16(_mm256_and_si256(w, _mm256_set1_epi32(0x0fc0fc00)),
                                               _mm256_set1_epi32(0x04000040));
        const __m256i even = _mm256_mullo_epi16(_mm256_and_si256(w, _mm256_set1_epi32(0x003f03f0)),
                                                _mm256_set1_epi32(0x01000010));
        const __m256i v = _mm256_or_si256(odd, even);
        __m256i x = _mm256_add_epi8(v, _mm256_set1_epi8('A'));
        x = _mm256_add_epi8(
            x, _mm256_and_si256(_mm256_cmpgt_epi8(v, _mm256_set1_epi8(25)), _mm256_set1_epi8(6)));
        x = _mm256_sub_epi8(
            x, _mm256_and_si256(_mm256_cmpgt_epi8(v, _mm256_set1_epi8(51)), _mm256_set1_epi8(75)));
        x = _mm256_sub_epi8(
            x, _mm256_and_si256(_mm256_cmpgt_epi8(v, _mm256_set1_epi8(61)), _mm256_set1_epi8(15)));
        x = _mm256_add_epi8(
            x, _mm256_and_si256(_mm256_cmpgt_epi8(v, _mm256_set1_epi8(62)), _mm256_set1_epi8(3)));
        _mm256_storeu_si256((__m256i *) (void *) out, x);
    }
}

/* -1 where lo <= c <= hi, else 0; octets from 80 on are negative, and in no range. */
__attribute__((target("avx2"))) static inline __m256i cm_pem_within(__m256i c, char lo, char hi)
{
    return _mm256_and_si256(_mm256_cmpgt_epi8(c, _mm256_set1_epi8((char) (lo - 1))),
                            _mm256_cmpgt_epi8(_mm256_set1_epi8((char) (hi + 1)), c));
}

/* 64 characters back to 48 octets; false when one of them is none of base64's. Each group of four values is
 * put together by two multiplications (the same paper). */
__attribute__((target("avx2"))) static inline bool cm_pem_octets_avx2(const uint8_t *in, uint8_t *out)
{
    static const struct {
        char lo, hi, add; /* what makes the value of the character */
    } range[] = { { 'A', 'Z', -65 }, { 'a', 'z', -71 }, { '0', '9', 4 }, { '+', '+', 19 }, { '/', '/', 16 } };
    const __m256i order = _mm256_setr_epi8(2, 1, 0, 6, 5, 4, 10, 9, 8, 14, 13, 12, -1, -1, -1, -1, 2, 1, 0, 6,
                                           5, 4, 10, 9, 8, 14, 13, 12, -1, -1, -1, -1);
    __m256i any = _mm256_set1_epi8(-1);

    for (int i = 0; i < 2; i++, in += 32, out += 24) {
        const __m256i c = _mm256_loadu_si256((const __m256i *) (const void *) in);
        __m256i v = _mm256_setzero_si256(), known = v;
        for (size_t k = 0; k < CM_COUNT(range); k++) {
            const __m256i here = cm_pem_within(c, range[k].lo, range[k].hi);
            known = _mm256_or_si256(known, here);
            v = _mm256_or_si256(
                v, _mm256_and_si256(here, _mm256_add_epi8(c, _mm256_set1_epi8(range[k].add))));
        }
        any = _mm256_and_si256(any, known);
        const __m256i pairs = _mm256_maddubs_epi16(v, _mm256_set1_epi32(0x01400140));
        const __m256i fours = _mm256_madd_epi16(pairs, _mm256_set1_epi32(0x00011000));
        const __m256i x = _mm256_shuffle_epi8(fours, order);
        const __m128i half[] = { _mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1) };
        for (int k = 0; k < 2; k++) {
            const int last = _mm_extract_epi32(half[k], 2);
            _mm_storel_epi64((__m128i *) (void *) (out + 12 * k), half[k]);
            memcpy(out + 12 * k + 8, &last, sizeof last);
        }
    }
    return _mm256_movemask_epi8(any) == -1;
}
#endif

#endif
