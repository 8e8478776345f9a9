/* Makes every k-th call of one kind fail, or do half of its work: loaded before libc (LD_PRELOAD).
 *
 * FAULT_CALL names the call, FAULT_KIND is the number of the error or 0 for half the work,
 * FAULT_EVERY is k. Only while `fault_on(1)` holds, and only for regular files below FAULT_FOLDER.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static atomic_int on, count, made;

void fault_on(int value) { atomic_store(&on, value); }
int faults_made(void) { return atomic_load(&made); }

/* 0: go on. 1: fail with errno set. 2: do half of it. */
static int decide(const char *call, int fd, const char *path) {
    const char *wanted = getenv("FAULT_CALL");
    if (!atomic_load(&on) || !wanted || strcmp(call, wanted)) return 0;
    char link[64], target[PATH_MAX];
    if (!path) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t length = readlink(link, target, sizeof target - 1);
        if (length < 0) return 0;
        target[length] = 0;
        path = target;
    }
    const char *folder = getenv("FAULT_FOLDER");
    if (strncmp(path, folder, strlen(folder))) return 0;
    if (atomic_fetch_add(&count, 1) % atoi(getenv("FAULT_EVERY"))) return 0;
    atomic_fetch_add(&made, 1);
    int kind = atoi(getenv("FAULT_KIND"));
    if (!kind) return 2;
    errno = kind;
    return 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define HALF(size) ((size) > 1 ? (size) / 2 : (size))

ssize_t write(int fd, const void *data, size_t size) {
    int fault = decide("write", fd, NULL);
    if (fault == 1) return -1;
    return REAL(write)(fd, data, fault == 2 ? HALF(size) : size);
}
ssize_t read(int fd, void *data, size_t size) {
    int fault = decide("read", fd, NULL);
    if (fault == 1) return -1;
    return REAL(read)(fd, data, fault == 2 ? HALF(size) : size);
}
ssize_t copy_file_range(int from, off64_t *at, int to, off64_t *there, size_t size, unsigned flags) {
    int fault = decide("copy_file_range", to, NULL);
    if (fault == 1) return -1;
    return REAL(copy_file_range)(from, at, to, there, fault == 2 ? 1000 : size, flags);
}
int fsync(int fd) { return decide("fsync", fd, NULL) ? -1 : REAL(fsync)(fd); }
int ftruncate64(int fd, off64_t size) {
    return decide("ftruncate", fd, NULL) ? -1 : REAL(ftruncate64)(fd, size);
}
int rename(const char *from, const char *to) {
    return decide("rename", -1, to) ? -1 : REAL(rename)(from, to);
}
/* The descriptor is gone all the same, as in Linux. */
int close(int fd) {
    int fault = decide("close", fd, NULL), kind = errno;
    int closed = REAL(close)(fd);
    if (fault) errno = kind;
    return fault ? -1 : closed;
}
