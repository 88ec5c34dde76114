// The fp32 peak of one core: fused multiply-adds on registers alone, enough of them in flight to hide their latency.
// Built by fma_peak.py with -O2 -march=native; gives GFLOP/s of the calling thread's CPU time.
#include <immintrin.h>
#include <time.h>

#if defined(__AVX512F__)
#define REGISTER __m512
#define FILL _mm512_set1_ps
#define LANES 16
#else
#define REGISTER __m256
#define FILL _mm256_set1_ps
#define LANES 8
#endif

static double cpu_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return now.tv_sec + 1e-9 * now.tv_nsec;
}

// The operands are opaque to the compiler, so that no product is folded and no sum is moved out of the loop.
#define MULTIPLY_ADD(sum) __asm__ volatile("vfmadd231ps %1, %2, %0" : "+v"(sum) : "v"(factor), "v"(term))

double fma_gflops(long rounds) {
    REGISTER factor = FILL(1.0f), term = FILL(1e-9f);
    REGISTER a = term, b = term, c = term, d = term, e = term, f = term, g = term, h = term, i = term, j = term;
    double start = cpu_seconds();
    for (long round = 0; round < rounds; round++) {
        MULTIPLY_ADD(a); MULTIPLY_ADD(b); MULTIPLY_ADD(c); MULTIPLY_ADD(d); MULTIPLY_ADD(e);
        MULTIPLY_ADD(f); MULTIPLY_ADD(g); MULTIPLY_ADD(h); MULTIPLY_ADD(i); MULTIPLY_ADD(j);
    }
    return 10.0 * 2 * LANES * rounds / (cpu_seconds() - start) / 1e9;
}
