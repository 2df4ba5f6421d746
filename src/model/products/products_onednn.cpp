#include "model/products/onednn_library.hpp"
#include "model/products/products.hpp"
#include "th/base/error.hpp"
#include "th/model/memory/tensors.hpp"

#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <map>
#include <vector>

namespace th::model {

namespace {

template <typename T>
using Owned = std::unique_ptr<std::remove_pointer_t<T>, dnnl_status_t (*)(T)>;

dnnl_data_type_t type_of(const at::Tensor& t) {
  if (t.scalar_type() == at::kFloat) return dnnl_f32;
  ensure(t.scalar_type() == at::kBFloat16, "oneDNN: products are of fp32 or bf16");
  return dnnl_bf16;
}

/// The arguments of a product: c = a b + bias, or c += a b; bias may be undefined.
struct Arguments {
  const at::Tensor &a, &b, &bias, &c;
  Write write;
};

/// Sizes, strides and types of a product: what a compiled kernel is made for.
using Shape = std::array<std::int64_t, 18>;

Shape shape_of(const Arguments& arguments) {
  const auto& [a, b, bias, c, write] = arguments;
  Shape s{};
  std::size_t i = 0;
  s[i++] = a.dim();
  for (const at::Tensor* t : {&a, &b, &c}) {
    s[i++] = t->scalar_type() == at::kFloat ? 0 : 1;
    for (const std::int64_t stride : t->strides()) s[i++] = stride;
  }
  s[i++] = (bias.defined() ? 1 : 0) + (write == Write::kAdd ? 2 : 0);
  for (const std::int64_t size : a.sizes()) s[i++] = size;
  s[i++] = b.size(-1);
  return s;
}

/// One compiled product and the memory objects that its arguments are set into.
class Product {
 public:
  Product(const OnednnLibrary& dnnl, dnnl_engine_t engine, const Arguments& arguments)
      : dnnl_(dnnl),
        engine_(engine),
        description_(nullptr, dnnl.primitive_desc_destroy),
        primitive_(nullptr, dnnl.primitive_destroy) {
    const auto& [a, b, bias, c, write] = arguments;
    const Owned<dnnl_memory_desc_t> md_a = describe(a), md_b = describe(b), md_c = describe(c);
    Owned<dnnl_memory_desc_t> md_bias(nullptr, dnnl.memory_desc_destroy);
    if (bias.defined()) md_bias = describe(bias.unsqueeze(0));
    const Owned<dnnl_primitive_attr_t> attributes = attributes_of(write);
    dnnl_primitive_desc_t description = nullptr;
    OnednnLibrary::check(
        dnnl.matmul_primitive_desc_create(&description, engine, md_a.get(), md_b.get(),
                                          md_bias.get(), md_c.get(), attributes.get()),
        "matmul_primitive_desc_create");
    description_.reset(description);
    const const_dnnl_memory_desc_t scratch =
        dnnl.primitive_desc_query_md(description, dnnl_query_scratchpad_md, 0);
    scratch_bytes_ = static_cast<std::int64_t>(dnnl.memory_desc_get_size(scratch));
    add(DNNL_ARG_SRC, md_a.get());
    add(DNNL_ARG_WEIGHTS, md_b.get());
    add(DNNL_ARG_DST, md_c.get());
    add(DNNL_ARG_SCRATCHPAD, scratch);
    if (bias.defined()) add(DNNL_ARG_BIAS, md_bias.get());
  }

  void run(dnnl_stream_t stream, const Arguments& arguments, Arithmetic arithmetic) {
    const auto& [a, b, bias, c, write] = arguments;
    at::Tensor scratch;
    if (scratch_bytes_ > 0)
      scratch = model::empty({scratch_bytes_}, at::TensorOptions().dtype(at::kByte));
    if (arithmetic == Arithmetic::kShapesOnly) return;
    if (!primitive_) {
      dnnl_primitive_t primitive = nullptr;
      OnednnLibrary::check(dnnl_.primitive_create(&primitive, description_.get()),
                           "primitive_create");
      primitive_.reset(primitive);
    }
    const std::array<void*, 5> data = {a.data_ptr(), b.data_ptr(), c.data_ptr(),
                                       scratch.defined() ? scratch.data_ptr() : nullptr,
                                       bias.defined() ? bias.data_ptr() : nullptr};
    for (std::size_t i = 0; i < memories_.size(); ++i) {
      OnednnLibrary::check(dnnl_.memory_set_data_handle(memories_[i].get(), data[i]),
                           "memory_set_data_handle");
    }
    OnednnLibrary::check(
        dnnl_.primitive_execute(primitive_.get(), stream, static_cast<int>(arguments_.size()),
                                arguments_.data()),
        "primitive_execute");
    OnednnLibrary::check(dnnl_.stream_wait(stream), "stream_wait");
  }

 private:
  [[nodiscard]] Owned<dnnl_memory_desc_t> describe(const at::Tensor& t) const {
    dnnl_memory_desc_t description = nullptr;
    OnednnLibrary::check(
        dnnl_.memory_desc_create_with_strides(&description, static_cast<int>(t.dim()),
                                              t.sizes().data(), type_of(t), t.strides().data()),
        "memory_desc_create_with_strides");
    return {description, dnnl_.memory_desc_destroy};
  }
  [[nodiscard]] Owned<dnnl_primitive_attr_t> attributes_of(Write write) const {
    dnnl_primitive_attr_t attributes = nullptr;
    OnednnLibrary::check(dnnl_.primitive_attr_create(&attributes), "primitive_attr_create");
    Owned<dnnl_primitive_attr_t> owned(attributes, dnnl_.primitive_attr_destroy);
    OnednnLibrary::check(
        dnnl_.primitive_attr_set_scratchpad_mode(attributes, dnnl_scratchpad_mode_user),
        "primitive_attr_set_scratchpad_mode");
    if (write == Write::kSet) return owned;
    dnnl_post_ops_t operations = nullptr;
    OnednnLibrary::check(dnnl_.post_ops_create(&operations), "post_ops_create");
    const Owned<dnnl_post_ops_t> kept(operations, dnnl_.post_ops_destroy);
    OnednnLibrary::check(dnnl_.post_ops_append_sum(operations, 1.0F, 0, dnnl_data_type_undef),
                         "post_ops_append_sum");
    OnednnLibrary::check(dnnl_.primitive_attr_set_post_ops(attributes, operations),
                         "primitive_attr_set_post_ops");
    return owned;
  }
  void add(int argument, const_dnnl_memory_desc_t description) {
    dnnl_memory_t memory = nullptr;
    OnednnLibrary::check(dnnl_.memory_create(&memory, description, engine_, nullptr),
                         "memory_create");
    memories_.emplace_back(memory, dnnl_.memory_destroy);
    arguments_.push_back({argument, memory});
  }

  const OnednnLibrary& dnnl_;
  dnnl_engine_t engine_;
  Owned<dnnl_primitive_desc_t> description_;
  Owned<dnnl_primitive_t> primitive_;
  std::int64_t scratch_bytes_ = 0;
  std::vector<Owned<dnnl_memory_t>> memories_;
  std::vector<dnnl_exec_arg_t> arguments_;
};

class OnednnProducts final : public Products {
 public:
  explicit OnednnProducts(std::shared_ptr<const OnednnLibrary> library)
      : library_(std::move(library)),
        engine_(nullptr, library_->engine_destroy),
        stream_(nullptr, library_->stream_destroy) {
    dnnl_engine_t engine = nullptr;
    OnednnLibrary::check(library_->engine_create(&engine, dnnl_cpu, 0), "engine_create");
    engine_.reset(engine);
    dnnl_stream_t stream = nullptr;
    OnednnLibrary::check(library_->stream_create(&stream, engine, dnnl_stream_default_flags),
                         "stream_create");
    stream_.reset(stream);
  }

  void multiply(const at::Tensor& a, const at::Tensor& b, const at::Tensor& bias,
                const at::Tensor& c, Write write, Arithmetic arithmetic) override {
    if (const int threads = at::get_num_threads();
        library_->set_threads != nullptr && threads != threads_) {
      library_->set_threads(threads);
      threads_ = threads;
    }
    const Arguments arguments{a, b, bias, c, write};
    const Shape shape = shape_of(arguments);
    auto found = products_.find(shape);
    if (found == products_.end()) {
      // Batches of many lengths have many; each is made again in well below a millisecond.
      if (products_.size() >= kMostProducts) products_.clear();
      found = products_.try_emplace(shape, *library_, engine_.get(), arguments).first;
    }
    found->second.run(stream_.get(), arguments, arithmetic);
  }
  [[nodiscard]] std::string name() const override { return "onednn-" + library_->version_text(); }

 private:
  static constexpr std::size_t kMostProducts = 1024;
  std::shared_ptr<const OnednnLibrary> library_;
  Owned<dnnl_engine_t> engine_;
  Owned<dnnl_stream_t> stream_;
  int threads_ = 0;
  std::map<Shape, Product> products_;
};

}  // namespace

std::shared_ptr<Products> onednn_products() {
  std::shared_ptr<const OnednnLibrary> library = OnednnLibrary::open();
  return library ? std::make_shared<OnednnProducts>(std::move(library)) : nullptr;
}

}  // namespace th::model
