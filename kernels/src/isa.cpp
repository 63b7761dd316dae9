// Compiled once for each instruction set: SPLADERT_ISA names the namespace, SPLADERT_LEVEL picks the code,
// SPLADERT_STAGES names the table of functions.
#include "forward.h"

namespace spladert {
namespace SPLADERT_ISA {

#if SPLADERT_LEVEL < 3
static void enter() {}
static void leave() {}
#endif

static void forward(const Group& group, int thread) { Forward(group, thread).run(); }

static void product(const uint8_t* a, int rows, const Product& product, int32_t* sums) {
  const StoreSums epilogue{sums, sums ? product.blocks * kBlock : 0};
  int8_product(a, rows, product, 0, product.blocks, epilogue, nullptr, rows <= 64);
}

static void product_of_floats(const float* a, int rows, const Product& product, float* out) {
  const StoreSums epilogue{reinterpret_cast<int32_t*>(out), product.blocks * kBlock};
  float_product(a, rows, product, 0, product.blocks, epilogue);
}

static void attention_of_floats(const float* qkv, int length, int head_size, int window, const Quantization& to,
                                float* scratch, char* converted, uint8_t* out) {
  convert(qkv, static_cast<size_t>(length + kSlack) * 3 * head_size, converted);
  const Destination destination(out, nullptr, round_up(head_size, kDepth), to);
  attention(reinterpret_cast<const Element*>(converted), length, head_size, window, scratch, destination, 0, 0);
}

static void norm(float* x, int rows, int hidden, const Norm& norm, const Quantization& to, uint8_t* out) {
  const Destination destination(out, nullptr, hidden, to);
  for (int r = 0; r < rows; r++) norm_row(x + static_cast<size_t>(r) * hidden, hidden, norm, destination, r, false);
}

static void gelu_of(float* x, int n) {
  for (int i = 0; i < n; i += kWidth) store(x + i, gelu(load(x + i)));
}

}  // namespace SPLADERT_ISA

const InstructionSet SPLADERT_STAGES = {
    SPLADERT_ISA_NAME,
    // With tiles, a row block costs the same for up to 32 rows: more rows before a split by rows pays.
    SPLADERT_LEVEL == 3 ? 320 : 160,
    sizeof(SPLADERT_ISA::Element),
    SPLADERT_LEVEL == 3,
    SPLADERT_ISA::kNeeds7Bits,
    SPLADERT_ISA::enter,
    SPLADERT_ISA::leave,
    SPLADERT_ISA::scratch_floats,
    SPLADERT_ISA::forward,
    SPLADERT_ISA::product,
    SPLADERT_ISA::product_of_floats,
    SPLADERT_ISA::attention_of_floats,
    SPLADERT_ISA::norm,
    SPLADERT_ISA::gelu_of,
};

}  // namespace spladert
