// Sixteen numbers side by side, computed alike on every machine.
//
// Compilers turn these vectors into whatever the machine has: one register with AVX-512, two with AVX2, four
// with SSE. Every operation here is lane by lane or in a fixed order, and multiply-add rounds once everywhere,
// so that results agree to the bit between machines. Nothing may be compiled with -ffast-math.
#pragma once

#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <type_traits>

#if defined(__AVX2__) || defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace mainspring {

constexpr int kLanes = 16;

// The upper half of a float, which is what the cache and the scales of small groups are kept in.
using Half = uint16_t;

using Floats = float __attribute__((vector_size(64)));
using Ints = int32_t __attribute__((vector_size(64)));
using Halves = Half __attribute__((vector_size(32)));
using Bytes = int8_t __attribute__((vector_size(16)));
using Shorts = int16_t __attribute__((vector_size(32)));

// What lies at any address.
template <class To>
inline To read_as(const void* from) {
  To to;
  std::memcpy(&to, from, sizeof to);
  return to;
}

template <class To, class From>
inline To bits_as(From from) {
  static_assert(sizeof(To) == sizeof(From));
  return read_as<To>(&from);
}

inline Floats to_floats(Ints lanes) { return __builtin_convertvector(lanes, Floats); }

inline Floats load(const float* from) { return read_as<Floats>(from); }
inline Floats load(const int8_t* from) { return to_floats(__builtin_convertvector(read_as<Bytes>(from), Ints)); }
inline Floats load(const Half* from) {
  return bits_as<Floats>(__builtin_convertvector(read_as<Halves>(from), Ints) << 16);
}

// Pairs of numbers that lie one behind the other, as halves: two in a lane.
inline Ints load_pairs(const Half* from) { return read_as<Ints>(from); }
inline Ints load_pairs(const int8_t* from) {
  const Ints both = __builtin_convertvector(read_as<Shorts>(from), Ints);
  const Floats first = to_floats(both << 24 >> 24), second = to_floats(both >> 8);
  return (bits_as<Ints>(first) >> 16 & 0xffff) | bits_as<Ints>(second);
}

inline void store(float* to, Floats lanes) { std::memcpy(to, &lanes, sizeof lanes); }
inline void store(Half* to, Floats halves) {
  const Halves lanes = __builtin_convertvector(bits_as<Ints>(halves) >> 16, Halves);
  std::memcpy(to, &lanes, sizeof lanes);
}
inline void store(int8_t* to, Bytes lanes) { std::memcpy(to, &lanes, sizeof lanes); }

inline Floats all(float value) { return Floats{} + value; }
inline Ints all(int32_t value) { return Ints{} + value; }

inline Floats largest(Floats a, Floats b) { return a > b ? a : b; }
inline Floats smallest(Floats a, Floats b) { return a < b ? a : b; }
inline Floats magnitude(Floats a) { return bits_as<Floats>(bits_as<Ints>(a) & 0x7fffffff); }

// a * b + c, rounded once.
inline Floats multiply_add(Floats a, Floats b, Floats c) {
#if defined(__AVX512F__)
  return (Floats)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__FMA__)
  for (int half = 0; half < 2; ++half) {
    const int at = half * 8;
    __m256 x = _mm256_loadu_ps((float*)&a + at), y = _mm256_loadu_ps((float*)&b + at);
    _mm256_storeu_ps((float*)&c + at, _mm256_fmadd_ps(x, y, _mm256_loadu_ps((float*)&c + at)));
  }
  return c;
#else
  for (int lane = 0; lane < kLanes; ++lane) c[lane] = __builtin_fmaf(a[lane], b[lane], c[lane]);
  return c;
#endif
}

// To each lane's sum: the two halves of a lane of `pairs` times those of `x`, the upper ones first, rounded once each.
// What is smaller than 2^-126 may be 0: the instruction takes it for that, two multiply-adds do not.
inline Floats add_products(Floats sums, Ints pairs, int32_t x) {
#if defined(__AVX512BF16__)
  return (Floats)_mm512_dpbf16_ps((__m512)sums, (__m512bh)pairs, (__m512bh)_mm512_set1_epi32(x));
#else
  const int32_t upper = (int32_t)0xffff0000;
  sums = multiply_add(bits_as<Floats>(pairs & upper), all(bits_as<float>(x & upper)), sums);
  return multiply_add(bits_as<Floats>(pairs << 16), all(bits_as<float>(x << 16)), sums);
#endif
}

// To each lane's sum: four unsigned bytes of `weights` times the four signed bytes of `x`. Exact.
inline Ints add_products(Ints sums, Ints weights, int32_t x) {
#if defined(__AVX512VNNI__)
  return (Ints)_mm512_dpbusd_epi32((__m512i)sums, (__m512i)weights, _mm512_set1_epi32(x));
#elif defined(__AVX2__)
  // The instruction that multiplies bytes saturates, so even and odd ones are widened to 16 bits.
  const int32_t even = (int32_t)(uint16_t)(int8_t)x | (int32_t)((uint32_t)(int8_t)(x >> 16) << 16);
  const int32_t odd = (int32_t)(uint16_t)(int8_t)(x >> 8) | (int32_t)((uint32_t)(int8_t)(x >> 24) << 16);
  for (int half = 0; half < 2; ++half) {
    __m256i* sum = (__m256i*)&sums + half;
    const __m256i w = _mm256_loadu_si256((__m256i*)&weights + half), low = _mm256_set1_epi32(0x00ff00ff);
    const __m256i evens = _mm256_madd_epi16(_mm256_and_si256(w, low), _mm256_set1_epi32(even));
    const __m256i odds = _mm256_madd_epi16(_mm256_and_si256(_mm256_srli_epi16(w, 8), low), _mm256_set1_epi32(odd));
    _mm256_storeu_si256(sum, _mm256_add_epi32(_mm256_loadu_si256(sum), _mm256_add_epi32(evens, odds)));
  }
  return sums;
#else
  for (int byte = 0; byte < 4; ++byte) sums += ((weights >> (8 * byte)) & 0xff) * (int32_t)(int8_t)(x >> (8 * byte));
  return sums;
#endif
}

// Halves are folded onto each other until one lane is left: 8 + 8, 4 + 4, 2 + 2, 1 + 1.
template <class Join>
inline float fold(Floats lanes, Join join) {
  float values[kLanes];
  store(values, lanes);
  for (int width = kLanes / 2; width > 0; width /= 2) {
    for (int lane = 0; lane < width; ++lane) values[lane] = join(values[lane], values[lane + width]);
  }
  return values[0];
}

inline float sum(Floats lanes) {
  return fold(lanes, [](float a, float b) { return a + b; });
}

inline float largest(Floats lanes) {
#if defined(__AVX512F__)
  return _mm512_reduce_max_ps((__m512)lanes);  // no order changes it
#else
  return fold(lanes, [](float a, float b) { return a > b ? a : b; });
#endif
}

// Nearest whole numbers, ties to even, of |x| < 2^22: adding 1.5 * 2^23 pushes the fraction out.
inline Ints to_nearest(Floats x) { return bits_as<Ints>(x + 12582912.0f) - 0x4b400000; }

// e^x by 2^n times a polynomial of the rest (Cephes' expf). Below -87 it is 0, above 88 as at 88.
inline Floats exp(Floats x) {
  const Floats bounded = smallest(largest(x, all(-87.0f)), all(88.0f));
  const Floats shifted = bounded * 1.44269504088896341f + 12582912.0f;
  const Floats n = shifted - 12582912.0f;
  const Floats rest = multiply_add(n, all(2.12194440e-4f), multiply_add(n, all(-0.693359375f), bounded));
  Floats series = all(1.9875691500e-4f);
  for (float next : {1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f}) {
    series = multiply_add(series, rest, all(next));
  }
  series = multiply_add(series, rest * rest, rest + 1.0f);
  const Ints power = (bits_as<Ints>(shifted) - 0x4b400000 + 127) << 23;
  return x < -87.0f ? Floats{} : series * bits_as<Floats>(power);
}

inline Floats tanh(Floats x) { return 1.0f - 2.0f / (exp(x * 2.0f) + 1.0f); }

// Bounded smoothly by `cap`; 0: by nothing.
inline Floats soft_capped(Floats x, float cap) { return cap > 0.0f ? tanh(x / cap) * cap : x; }

inline Half to_half(float value) {
  uint32_t bits = bits_as<uint32_t>(value);
  if ((bits & 0x7fffffff) > 0x7f800000) return 0x7fc0;  // not a number stays none
  return (Half)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// Of each lane the nearest float whose lower half is empty; of finite numbers alone.
inline Floats to_halves(Floats x) {
  const Ints bits = bits_as<Ints>(x);
  return bits_as<Floats>((bits + 0x7fff + ((bits >> 16) & 1)) & (int32_t)0xffff0000);
}

inline float from_half(Half half) { return bits_as<float>((uint32_t)half << 16); }

// Calls use(constant) with `count`, which is at most kMost, as a number that the compiler knows: loops over it are
// unrolled and what they hold stays in registers.
template <int kMost, class Use>
inline void with_constant(int count, const Use& use) {
  if constexpr (kMost > 1) {
    if (count < kMost) return with_constant<kMost - 1>(count, use);
  }
  use(std::integral_constant<int, kMost>{});
}

}  // namespace mainspring
