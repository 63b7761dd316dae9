/* C interface of the fused int8 encoder: token ids of texts in, the top-k (token id, weight) of each out.
 *
 * All arrays are the caller's. Linear layers are copied (packed) by spladert_create; all else that a spladert_model
 * points to must stay in place until the engine is destroyed. Matrices are row-major. A function that takes `error`
 * returns nonzero (or NULL) on failure and writes one line there, cut to SPLADERT_ERROR_SIZE bytes. Every function may
 * be called from several threads at once, but for spladert_destroy, which must be the last one of its engine. */
#ifndef SPLADERT_KERNELS_H
#define SPLADERT_KERNELS_H
#include <stdint.h>

#pragma GCC visibility push(default)

#ifdef __cplusplus
extern "C" {
#endif

#define SPLADERT_ABI 1
#define SPLADERT_ERROR_SIZE 256

/* y = x W + bias. `scale` NULL: `weight` is float [K, N]; else int8 [K, N] with one scale a column. */
typedef struct {
  const void* weight;
  const float* scale; /* [N] */
  const float* bias;  /* [N] or NULL */
} spladert_linear;

/* x ~ (q - zero_point) * scale, q uint8; scale 0: the activation stays float, as do the layers that read it. */
typedef struct {
  float scale;
  int32_t zero_point;
} spladert_quantization;

/* Layer normalization over the hidden size. */
typedef struct {
  const float* weight; /* [hidden] */
  const float* bias;   /* [hidden] or NULL */
  float epsilon;
} spladert_norm;

enum { SPLADERT_GELU = 0, SPLADERT_RELU = 1 };

typedef struct {
  spladert_linear query, key, value, output;
  spladert_linear gate, up, down; /* down(act(gate) * up), or down(act(up)) where gate.weight is NULL */
  spladert_quantization attention_input, output_input, mlp_input, down_input;
  spladert_norm after_attention, after_mlp; /* what the next product reads; see post_norm */
  const float *cos, *sin;                   /* [max_length, head_size / 2], halves rotated; NULL: no rotary embedding */
  float attention_scale;
  int32_t window; /* a token attends to this many to either side; 0: to all */
} spladert_layer;

typedef struct {
  int32_t layers, hidden, intermediate, heads, head_size, vocabulary, max_length;
  int32_t activation, head_activation;
  int32_t post_norm; /* 1: the residual stream itself is normalized (BERT); 0: only what products read (ModernBERT) */
  const int8_t *word_high, *word_low; /* [vocabulary, hidden]: row = scale * (high + low / 256) */
  const float* word_scale;            /* [vocabulary] */
  const float* position;              /* [position_rows, hidden] or NULL */
  const float* token_type;            /* [hidden], the row of type 0, or NULL */
  int32_t position_rows;
  int32_t position_pad; /* -1: position t; else RoBERTa's: pad + the number of tokens so far that are not pad */
  spladert_norm embedding_norm;
  const spladert_layer* layer;
  spladert_linear head;
  spladert_quantization head_input, decoder_input;
  spladert_norm head_norm;
  const int8_t *decoder_high, *decoder_low;  /* [vocabulary, hidden] */
  const float *decoder_scale, *decoder_bias; /* [vocabulary] */
  int32_t mapped; /* 1: int8 and float matrices lie in a private mapping of a file, whose pages may be dropped */
} spladert_model;

typedef struct {
  const char* isa; /* one of spladert_isa_name; NULL: SPLADERT_ISA of the environment, else the best that runs */
  int32_t threads; /* of one call; 0: as spladert_default_threads */
  int32_t spin;    /* microseconds that a thread waits for another before it sleeps */
} spladert_options;

typedef struct spladert_engine spladert_engine;

int32_t spladert_abi(void);
const char* spladert_version(void);
/* Instruction sets of this build, best first; NULL beyond the last one. */
const char* spladert_isa_name(int32_t number);
/* Why an instruction set does not run here, or NULL where it does. */
const char* spladert_isa_missing(int32_t number);
/* Physical cores of this process's affinity mask; a cgroup's quota is the caller's to apply. */
int32_t spladert_default_threads(void);

spladert_engine* spladert_create(const spladert_model* model, const spladert_options* options, char* error);
void spladert_destroy(spladert_engine* engine);
const char* spladert_engine_isa(const spladert_engine* engine);
int32_t spladert_engine_threads(const spladert_engine* engine);
/* ids of all texts one after the other, text t from offsets[t] to offsets[t + 1], none empty; results [texts, top_k] by
 * falling weight, zeros included. */
int32_t spladert_run(spladert_engine* engine, const int32_t* ids, const int32_t* offsets, int32_t texts, int32_t top_k,
                     int32_t* indices, float* values, char* error);

/* Single stages, for tests and measurements. `isa` as in spladert_options; one thread. */
/* sums [M, N] = a [M, K] uint8 times weight [K, N] int8. */
int32_t spladert_product(const char* isa, const uint8_t* a, const int8_t* weight, int32_t rows, int32_t inner,
                         int32_t columns, int32_t* sums, char* error);
/* out [M, N] = a [M, K] times weight [K, N], all float. */
int32_t spladert_float_product(const char* isa, const float* a, const float* weight, int32_t rows, int32_t inner,
                               int32_t columns, float* out, char* error);
/* out [length, head_size] uint8 of one head; q, k, v float [length, head_size]. */
int32_t spladert_attention(const char* isa, const float* q, const float* k, const float* v, int32_t length,
                           int32_t head_size, int32_t window, float attention_scale, spladert_quantization to,
                           uint8_t* out, char* error);
/* out [rows, hidden] uint8 = quantized norm of x [rows, hidden]. */
int32_t spladert_norm_quantize(const char* isa, const float* x, spladert_norm norm, int32_t rows, int32_t hidden,
                               spladert_quantization to, uint8_t* out, char* error);
/* GELU of n values in place, n a multiple of 16. */
int32_t spladert_gelu(const char* isa, float* x, int32_t n, char* error);
/* Rate of the bare product, in multiply-adds a second: `copies` matrices, so that weights come from beyond the caches.
 */
double spladert_product_rate(const char* isa, int32_t rows, int32_t inner, int32_t columns, int32_t copies);

#ifdef __cplusplus
}
#endif

#pragma GCC visibility pop
#endif
