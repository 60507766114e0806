/* The functions of NVML that the sampler calls again and again, as a driver would have them: in C, without the
   interpreter's lock. The counter of every board rises by 300 W and moves periodically, up to 2 % of the period late.
   A handle is 1 + the board's index, as in tests/sim/nvml.py. Remembers when its last calls were made. */
#include <math.h>
#include <stdint.h>
#include <time.h>

#define JITTER 0.02
#define PHASE_S 0.013 /* from board to board */
#define POWER_W 300.0
#define POWER_MW 300000
#define INSTANT_FIELD 186
#define NOT_SUPPORTED 3
#define CALLS 65536

double period_s = 0.1;
int64_t called_ns[CALLS];
int64_t calls = 0; /* made so far; the last of them stand in called_ns, in turns */

typedef struct {
    unsigned field, scope;
    int64_t timestamp, latency_us;
    unsigned type, result;
    union {
        unsigned ui;
        unsigned long long ull;
        double d;
    } value;
} field_value;

static double called(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t k = __atomic_fetch_add(&calls, 1, __ATOMIC_RELAXED);
    called_ns[k % CALLS] = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static double late_s(int64_t k, int64_t board) {
    uint64_t x = (uint64_t)(k * 1000003 + board) * 0x9E3779B97F4A7C15u;
    x ^= x >> 29;
    x *= 0xBF58476D1CE4E5B9u;
    x ^= x >> 32;
    return JITTER * period_s * (double)(x >> 11) / 9007199254740992.0;
}

unsigned nvmlDeviceGetTotalEnergyConsumption(void *handle, unsigned long long *energy_mj) {
    int64_t board = (int64_t)(intptr_t)handle;
    double time_s = called() - PHASE_S * (double)board;
    int64_t k = (int64_t)floor(time_s / period_s);
    double update_s = period_s * (double)k + late_s(k, board);
    if (update_s > time_s)
        update_s = period_s * (double)(k - 1) + late_s(k - 1, board);
    *energy_mj = (unsigned long long)(1e3 * POWER_W * update_s);
    return 0;
}

unsigned nvmlDeviceGetPowerUsage(void *handle, unsigned *power_mw) {
    (void)handle;
    called();
    *power_mw = POWER_MW;
    return 0;
}

unsigned nvmlDeviceGetFieldValues(void *handle, int n, field_value *values) {
    (void)handle;
    called();
    for (int i = 0; i < n; i++) {
        values[i].result = values[i].field == INSTANT_FIELD && values[i].scope == 0 ? 0 : NOT_SUPPORTED;
        values[i].type = 1; /* unsigned int */
        values[i].value.ui = POWER_MW;
    }
    return 0;
}

/* A sampler without an interpreter: wakes up, reads so many boards, and leaves time and value in a ring of pairs behind
   the number of all reads so far, until it is told that it is over. */
void sample(double wake_ups_per_s, int64_t boards, int64_t *ring, int64_t pairs, const volatile int *over) {
    uint64_t x = 1;
    for (int64_t n = 0; !*over;) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        double wait_s = (0.75 + 0.5 * (double)(x >> 11) / 9007199254740992.0) / wake_ups_per_s;
        struct timespec wait = {(time_t)wait_s, (long)(1e9 * (wait_s - floor(wait_s)))}, now;
        nanosleep(&wait, 0);
        for (int64_t board = 1; board <= boards; board++, n++) {
            unsigned long long energy_mj;
            nvmlDeviceGetTotalEnergyConsumption((void *)(intptr_t)board, &energy_mj);
            clock_gettime(CLOCK_MONOTONIC, &now);
            int64_t *pair = ring + 1 + 2 * (n % pairs);
            pair[0] = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec, pair[1] = (int64_t)energy_mj;
        }
        ring[0] = n;
    }
}
