/* Stands in for the CUDA libraries that ONNX Runtime's CUDA provider links, on a machine without a GPU.

   Memory is the host's, kernels are not run (results are zeros), and calls are counted. With it the provider chooses
   kernels, places nodes, copies and captures as it would on a GPU; what it computes and how fast shows on a GPU alone.
   Layouts are those of CUDA 13 (driver_types.h). What is not here answers 0, which is success (cuda_stand_in.py). */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef int status;
enum { PROPERTIES = 1008 }; /* size of cudaDeviceProp */

static long launches, captures, replays, allocated, copied[5];
static int capturing;
static char handle[4096];

long stand_in_launches(void) { return launches; }
long stand_in_captures(void) { return captures; }
long stand_in_replays(void) { return replays; }
long stand_in_allocations(void) { return allocated; }
long stand_in_copied(int kind) { return copied[kind]; } /* bytes; 1: to the device, 2: from it */

status cudaGetDeviceCount(int *count) { *count = 1; return 0; }
status cudaGetDevice(int *device) { *device = 0; return 0; }
status cudaDriverGetVersion(int *version) { *version = 13000; return 0; }
status cudaRuntimeGetVersion(int *version) { *version = 13000; return 0; }
const char *cudaGetErrorName(int error) { return "stand-in"; }
const char *cudaGetErrorString(int error) { return "stand-in"; }

static void put(char *at, int value) { memcpy(at, &value, sizeof value); }

status cudaGetDeviceProperties(char *found, int device) { /* the numbers are offsets in cudaDeviceProp */
    size_t memory = (size_t)80 << 30;
    memset(found, 0, PROPERTIES);
    strcpy(found, "stand-in");
    memcpy(found + 288, &memory, sizeof memory);
    put(found + 296, 49152), put(found + 672, 232448);                     /* shared memory of a block, at most */
    put(found + 304, 65536), put(found + 308, 32), put(found + 320, 1024); /* registers, warp, threads of a block */
    put(found + 324, 1024), put(found + 328, 1024), put(found + 332, 64);
    put(found + 336, 2147483647), put(found + 340, 65535), put(found + 344, 65535);
    put(found + 360, 8), put(found + 384, 132), put(found + 604, 2048); /* capability, processors, threads of one */
    return 0;
}
status cudaDeviceGetAttribute(int *value, int attribute, int device) {
    *value = attribute == 75 ? 8 : attribute == 76 ? 0 : attribute == 97 ? 232448 : attribute == 16 ? 132 : 1024;
    return 0;
}
status cudaFuncGetAttributes(char *found, const void *function) { memset(found, 0, 144); return 0; }
status cudaPointerGetAttributes(char *found, const void *pointer) {
    memset(found, 0, 88);
    put(found, 2); /* cudaMemoryTypeDevice */
    memcpy(found + 8, &pointer, sizeof pointer);
    return 0;
}
status cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, const void *f, int n, size_t s, unsigned g) {
    *blocks = 2;
    return 0;
}

static status take(void **memory, size_t size) {
    size = (size + 511) / 256 * 256;
    *memory = aligned_alloc(256, size);
    memset(*memory, 0, size);
    return 0;
}
status cudaMalloc(void **memory, size_t size) { allocated++; return take(memory, size); }
status cudaMallocFromPoolAsync(void **memory, size_t size, void *pool, void *stream) { return cudaMalloc(memory, size); }
status cudaMallocHost(void **memory, size_t size) { return take(memory, size); }
status cudaHostAlloc(void **memory, size_t size, unsigned flags) { return take(memory, size); }
status cudaFree(void *memory) { free(memory); return 0; }
status cudaFreeAsync(void *memory, void *stream) { free(memory); return 0; }
status cudaFreeHost(void *memory) { free(memory); return 0; }
status cudaMemGetInfo(size_t *available, size_t *total) { *available = *total = (size_t)80 << 30; return 0; }
status cudaMemset(void *to, int value, size_t size) { memset(to, value, size); return 0; }
status cudaMemsetAsync(void *to, int value, size_t size, void *stream) { memset(to, value, size); return 0; }
status cudaMemcpy(void *to, const void *from, size_t size, int kind) {
    copied[kind] += size;
    memcpy(to, from, size);
    return 0;
}
status cudaMemcpyAsync(void *to, const void *from, size_t size, int kind, void *stream) {
    return cudaMemcpy(to, from, size, kind);
}

status cudaStreamCreate(void **stream) { *stream = handle; return 0; }
status cudaStreamCreateWithFlags(void **stream, unsigned flags) { *stream = handle; return 0; }
status cudaEventCreate(void **event) { *event = handle; return 0; }
status cudaEventCreateWithFlags(void **event, unsigned flags) { *event = handle; return 0; }
status cudaStreamIsCapturing(void *stream, int *state) { *state = capturing; return 0; }
status cudaStreamBeginCapture(void *stream, int mode) { capturing = 1; captures++; return 0; }
status cudaStreamEndCapture(void *stream, void **graph) { capturing = 0; *graph = handle; return 0; }
status cudaGraphInstantiate(void **ready, void *graph, unsigned long long flags) { *ready = handle; return 0; }
status cudaGraphLaunch(void *ready, void *stream) { replays++; return 0; }
status cudaGetDriverEntryPointByVersion(const char *name, void **found, unsigned v, unsigned long long f, int *result) {
    *found = 0;
    if (result) *result = 1; /* cudaDriverEntryPointSymbolNotFound */
    return 0;
}

void **__cudaRegisterFatBinary(void *binary) { static void *place[64]; return place; }
status cudaLaunchKernel(void) { launches++; return 0; }
status cudaLaunchKernelExC(void) { launches++; return 0; }
status __cudaLaunchKernel(void) { launches++; return 0; }

status cublasCreate_v2(void **made) { *made = handle; return 0; }
status cublasLtCreate(void **made) { *made = handle; return 0; }
status curandCreateGenerator(void **made, int kind) { *made = handle; return 0; }
status cudnnCreate(void **made) { *made = handle; return 0; }
status cudnnGetStream(void *made, void **stream) { *stream = handle; return 0; }
status cudnnCreateTensorDescriptor(void **made) { *made = handle; return 0; }
status cudnnCreateReduceTensorDescriptor(void **made) { *made = handle; return 0; }
status cudnnGetReductionIndicesSize(void *h, void *r, void *a, void *c, size_t *size) { *size = 256; return 0; }
status cudnnGetReductionWorkspaceSize(void *h, void *r, void *a, void *c, size_t *size) { *size = 256; return 0; }
status cudnnReduceTensor(void) { launches++; return 0; }
const char *cudnnGetErrorString(int error) { return "stand-in"; }
void cudnnGetLastErrorString(char *text, size_t size) { if (size) *text = 0; }
size_t cudnnGetVersion(void) { return 92000; }
