/* The one function of NVML that the sampler calls again and again, as a driver would have it: in C, without the
   interpreter's lock. The counter of every board rises by 300 W and moves every 100 ms, up to 2 ms late.
   A handle is 1 + the board's index, as in tests/sim/nvml.py. */
#include <math.h>
#include <stdint.h>
#include <time.h>

#define PERIOD_S 0.1
#define JITTER_S 0.002
#define PHASE_S 0.013 /* from board to board */
#define POWER_W 300.0

static double late_s(int64_t k, int64_t board) {
    uint64_t x = (uint64_t)(k * 1000003 + board) * 0x9E3779B97F4A7C15u;
    x ^= x >> 29;
    x *= 0xBF58476D1CE4E5B9u;
    x ^= x >> 32;
    return JITTER_S * (double)(x >> 11) / 9007199254740992.0;
}

unsigned nvmlDeviceGetTotalEnergyConsumption(void *handle, unsigned long long *energy_mj) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t board = (int64_t)(intptr_t)handle;
    double time_s = (double)now.tv_sec + 1e-9 * (double)now.tv_nsec - PHASE_S * (double)board;
    int64_t k = (int64_t)floor(time_s / PERIOD_S);
    double update_s = PERIOD_S * (double)k + late_s(k, board);
    if (update_s > time_s)
        update_s = PERIOD_S * (double)(k - 1) + late_s(k - 1, board);
    *energy_mj = (unsigned long long)(1e3 * POWER_W * update_s);
    return 0;
}
