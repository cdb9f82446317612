// A Triton backend named `pytorch`: serves TorchScript in the server's own process, as NVIDIA's
// LibTorch backend does, which the embedded server lacks.
//
// It reads the same config.pbtxt and 1/model.pt as that and as the Python-based backend beside it.
// The inputs go to `forward` in the order of the configuration, and the parameter
// INTRA_OP_THREAD_COUNT sets the number of threads; that of `kernel_library` names operators of torch
// that the network calls. It does not batch.

#include <ATen/Parallel.h>
#include <dlfcn.h>
#include <malloc.h>
#include <torch/cuda.h>
#include <torch/script.h>
#include <torch/csrc/jit/ir/ir.h>
#include <torch/csrc/jit/passes/tensorexpr_fuser.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "triton.h"

namespace {

// mallopt, as `pipeline.device.settle` does it and for the same reason.
constexpr int kMmapThreshold = 1 << 25;
constexpr int kTrimThreshold = 1 << 30;

// Triton's name of a type in config.pbtxt, in its C API, and torch's.
struct Type {
  const char* name;
  TRITONSERVER_DataType triton;
  at::ScalarType torch;
};

constexpr Type kTypes[] = {
    {"TYPE_BOOL", TRITONSERVER_TYPE_BOOL, at::kBool},
    {"TYPE_UINT8", TRITONSERVER_TYPE_UINT8, at::kByte},
    {"TYPE_INT8", TRITONSERVER_TYPE_INT8, at::kChar},
    {"TYPE_INT16", TRITONSERVER_TYPE_INT16, at::kShort},
    {"TYPE_INT32", TRITONSERVER_TYPE_INT32, at::kInt},
    {"TYPE_INT64", TRITONSERVER_TYPE_INT64, at::kLong},
    {"TYPE_FP16", TRITONSERVER_TYPE_FP16, at::kHalf},
    {"TYPE_FP32", TRITONSERVER_TYPE_FP32, at::kFloat},
    {"TYPE_FP64", TRITONSERVER_TYPE_FP64, at::kDouble},
    {"TYPE_BF16", TRITONSERVER_TYPE_BF16, at::kBFloat16},
};

template <typename Predicate>
const Type& find_type(const std::string& what, Predicate matches) {
  for (const Type& type : kTypes) {
    if (matches(type)) return type;
  }
  throw std::invalid_argument(what + ": a type that torch does not have");
}

// Turns an error of the server into an exception.
void check(TRITONSERVER_Error* error) {
  if (error == nullptr) return;
  const std::string message = TRITONSERVER_ErrorMessage(error);
  TRITONSERVER_ErrorDelete(error);
  throw std::runtime_error(message);
}

// The message of an exception, without the C++ stack that torch adds.
std::string message_of(const std::exception& error) {
  if (const auto* torch_error = dynamic_cast<const c10::Error*>(&error)) {
    return torch_error->what_without_backtrace();
  }
  return error.what();
}

// Runs what may throw, and gives what was thrown as an error of the server.
template <typename Function>
TRITONSERVER_Error* guarded(Function function) {
  try {
    function();
    return nullptr;
  } catch (const std::invalid_argument& error) {
    return TRITONSERVER_ErrorNew(TRITONSERVER_ERROR_INVALID_ARG, error.what());
  } catch (const std::exception& error) {
    return TRITONSERVER_ErrorNew(TRITONSERVER_ERROR_INTERNAL, message_of(error).c_str());
  } catch (...) {
    return TRITONSERVER_ErrorNew(TRITONSERVER_ERROR_INTERNAL, "an exception of unknown type");
  }
}

uint64_t now_ns() {
  const auto since = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(since).count();
}

std::string shape_text(c10::ArrayRef<int64_t> shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) {
    text += (i ? ", " : "") + std::to_string(shape[i]);
  }
  return text + "]";
}

// A tensor of the configuration.
struct Declared {
  std::string name;
  Type type;
  std::vector<int64_t> shape;  // -1: any
  bool optional;               // a request need not have it

  explicit Declared(const nlohmann::json& entry)
      : name(entry.at("name")),
        type(find_type(name, [&entry](const Type& t) { return entry.at("data_type") == t.name; })),
        optional(entry.value("optional", false)) {
    for (const auto& size : entry.at("dims")) {
      // In JSON, protobuf writes 64-bit numbers as text.
      shape.push_back(size.is_string() ? std::stoll(size.get<std::string>()) : size.get<int64_t>());
    }
  }

  bool fits(const at::Tensor& tensor) const {
    if (tensor.scalar_type() != type.torch || tensor.dim() != int64_t(shape.size())) return false;
    for (size_t i = 0; i < shape.size(); ++i) {
      if (shape[i] >= 0 && shape[i] != tensor.size(int64_t(i))) return false;
    }
    return true;
  }
};

std::vector<Declared> declared(const nlohmann::json& config, const char* key) {
  std::vector<Declared> tensors;
  for (const auto& entry : config.at(key)) tensors.emplace_back(entry);
  return tensors;
}

// Lets TorchScript make its tensors on a device, whatever was there when it was traced; as
// `pipeline.device.place_constants`.
void place_constants(torch::jit::Module& network, const c10::Device& device) {
  for (const auto& part : network.modules()) {
    for (const auto& method : part.get_methods()) {
      std::vector<torch::jit::Block*> blocks = {method.graph()->block()};
      while (!blocks.empty()) {
        torch::jit::Block* block = blocks.back();
        blocks.pop_back();
        for (torch::jit::Node* node : block->nodes()) {
          blocks.insert(blocks.end(), node->blocks().begin(), node->blocks().end());
          if (node->kind() == torch::jit::prim::Constant &&
              node->output()->type()->kind() == c10::TypeKind::DeviceObjType) {
            node->s_(torch::jit::attr::value, device.str());
          }
        }
      }
    }
  }
}

using TakeLaps = void (*)(void* into, void (*add)(void*, const char*, uint64_t));

// A model: its configuration, and where its network is; each instance loads one of its own.
class Model {
 public:
  explicit Model(TRITONBACKEND_Model* model) {
    TRITONSERVER_Message* message = nullptr;
    check(TRITONBACKEND_ModelConfig(model, 1, &message));
    const char* text = nullptr;
    size_t size = 0;
    check(TRITONSERVER_MessageSerializeToJson(message, &text, &size));
    const auto config = nlohmann::json::parse(text, text + size);
    check(TRITONSERVER_MessageDelete(message));
    name_ = config.at("name");
    if (config.value("max_batch_size", 0) > 0) {
      throw std::invalid_argument(
          name_ + ": max_batch_size: expected 0, for this backend does not batch");
    }
    inputs = declared(config, "input");
    const auto outputs = declared(config, "output");
    if (outputs.size() != 1) {
      throw std::invalid_argument(
          name_ + ": expected 1 output, the configuration has " + std::to_string(outputs.size()));
    }
    output = std::make_unique<Declared>(outputs[0]);
    const auto parameters = config.value("parameters", nlohmann::json::object());
    if (parameters.contains("INTRA_OP_THREAD_COUNT")) {
      const std::string value = parameters["INTRA_OP_THREAD_COUNT"].at("string_value");
      size_t read = std::string::npos;
      try {
        threads = std::stoi(value, &read);
      } catch (const std::logic_error&) {
      }
      if (read != value.size() || threads < 1) {
        throw std::invalid_argument(
            name_ + ": parameter INTRA_OP_THREAD_COUNT: expected a number from 1 on, not '" +
            value + "'");
      }
    }
    if (parameters.contains("kernel_library")) {
      load_kernels(parameters["kernel_library"].at("string_value"));
    }
    TRITONBACKEND_ArtifactType type;
    const char* folder = nullptr;
    uint64_t version = 0;
    check(TRITONBACKEND_ModelRepository(model, &type, &folder));
    check(TRITONBACKEND_ModelVersion(model, &version));
    std::string file = config.value("default_model_filename", "");
    if (file.empty()) file = "model.pt";
    path_ = std::string(folder) + "/" + std::to_string(version) + "/" + file;
  }

  // The network on a device, for one instance.
  torch::jit::Module network(const c10::Device& device) const {
    auto loaded = load(device);
    loaded.eval();
    place_constants(loaded, device);
    const auto& arguments = loaded.get_method("forward").function().getSchema().arguments();
    if (arguments.size() != inputs.size() + 1) {  // the first is the module itself
      throw std::invalid_argument(
          path_ + ": the network takes " + std::to_string(arguments.size() - 1) +
          " inputs, the configuration has " + std::to_string(inputs.size()));
    }
    return loaded;
  }

  const std::string& name() const { return name_; }

  std::vector<Declared> inputs;
  std::unique_ptr<Declared> output;
  int threads = 1;
  TakeLaps take_laps = nullptr;  // of the operators' library: laps.h there

 private:
  // Operators of torch that the network calls; they tell torch of themselves.
  void load_kernels(const std::string& library) {
    if (library.empty()) return;
    void* handle = dlopen(library.c_str(), RTLD_NOW | RTLD_GLOBAL);
    if (handle == nullptr) {
      throw std::invalid_argument(name_ + ": parameter kernel_library: " + dlerror());
    }
    take_laps = reinterpret_cast<TakeLaps>(dlsym(handle, "exatrkx_take_laps"));
  }

  torch::jit::Module load(const c10::Device& device) const {
    try {
      return torch::jit::load(path_, device);
    } catch (const std::exception& error) {
      const std::string text = message_of(error);
      throw std::invalid_argument(
          path_ + ": expected a TorchScript file: " + text.substr(0, text.find('\n')));
    }
  }

  std::string name_, path_;
};

// An instance of a model: runs in a thread of its own.
class Instance {
 public:
  explicit Instance(TRITONBACKEND_ModelInstance* instance) {
    TRITONBACKEND_Model* model = nullptr;
    void* state = nullptr;
    check(TRITONBACKEND_ModelInstanceModel(instance, &model));
    check(TRITONBACKEND_ModelState(model, &state));
    model_ = static_cast<Model*>(state);
    TRITONSERVER_InstanceGroupKind kind;
    check(TRITONBACKEND_ModelInstanceKind(instance, &kind));
    if (kind == TRITONSERVER_INSTANCEGROUPKIND_GPU) {
      int32_t number = 0;
      check(TRITONBACKEND_ModelInstanceDeviceId(instance, &number));
      device_ = c10::Device(c10::kCUDA, static_cast<c10::DeviceIndex>(number));
      // As `pipeline.device.make_repeatable`.
      at::globalContext().setDeterministicAlgorithms(true, false);
      at::globalContext().setDeterministicFillUninitializedMemory(false);
      torch::jit::setTensorExprFuserEnabled(false);
    }
    network_ = model_->network(device_);
    const char* name = nullptr;
    check(TRITONBACKEND_ModelInstanceName(instance, &name));
    name_ = name;
    const char* folder = std::getenv("EXATRKX_JOURNAL");
    if (folder != nullptr) journal_ = std::string(folder) + "/" + name_ + ".csv";
  }

  // The notes of a model that holds several stages go where those of the Python models go, in the
  // same form: `serving.journal`.
  ~Instance() {
    if (!notes_.empty()) std::ofstream(journal_, std::ios::app) << notes_;
  }

  // Answers a request, and tells the server when it did what.
  void answer(TRITONBACKEND_ModelInstance* instance, TRITONBACKEND_Request* request) {
    const uint64_t begun = now_ns();
    uint64_t gathered = begun, computed = begun;
    TRITONBACKEND_Response* response = nullptr;
    TRITONSERVER_Error* failure = guarded([&] {
      check(TRITONBACKEND_ResponseNew(&response, request));
      const c10::InferenceMode mode;
      std::vector<torch::jit::IValue> inputs;
      for (const Declared& input : model_->inputs) inputs.push_back(take(request, input));
      gathered = computed = now_ns();
      const torch::jit::IValue result = run(inputs);
      computed = now_ns();
      note(request, gathered);
      respond(request, response, result);
    });
    const uint64_t ended = now_ns();
    const bool success = failure == nullptr;
    if (response == nullptr) {
      std::fprintf(stderr, "pytorch backend: %s\n", TRITONSERVER_ErrorMessage(failure));
    } else {
      // The response is the server's from here on, the error stays ours.
      log_failure(TRITONBACKEND_ResponseSend(
          response, TRITONSERVER_RESPONSE_COMPLETE_FINAL, failure));
    }
    if (failure != nullptr) TRITONSERVER_ErrorDelete(failure);
    log_failure(TRITONBACKEND_ModelInstanceReportStatistics(
        instance, request, success, begun, gathered, computed, ended));
    log_failure(TRITONBACKEND_ModelInstanceReportBatchStatistics(
        instance, 1, begun, gathered, computed, ended));
    log_failure(TRITONBACKEND_RequestRelease(request, TRITONSERVER_REQUEST_RELEASE_ALL));
  }

 private:
  // Notes when the stages of a request were done; the first began at `begun`.
  void note(TRITONBACKEND_Request* request, uint64_t begun) {
    const auto laps = take_laps();
    if (laps.empty() || journal_.empty()) return;
    const char* id = nullptr;
    check(TRITONBACKEND_RequestId(request, &id));
    for (const auto& [stage, ns] : laps) {
      notes_ += quoted(id) + "," + stage + ",compute," + std::to_string(begun) + "," +
                std::to_string(ns - begun) + "\n";
      begun = ns;
    }
  }

  std::vector<std::pair<std::string, uint64_t>> take_laps() const {
    std::vector<std::pair<std::string, uint64_t>> laps;
    if (model_->take_laps != nullptr) {
      model_->take_laps(&laps, [](void* into, const char* stage, uint64_t ns) {
        static_cast<decltype(laps)*>(into)->emplace_back(stage, ns);
      });
    }
    return laps;
  }

  // A text as CSV has it, whatever a client has put into it.
  static std::string quoted(const std::string& text) {
    std::string quoted = "\"";
    for (const char c : text) quoted += c == '"' ? "\"\"" : std::string(1, c);
    return quoted + "\"";
  }

  torch::jit::IValue run(const std::vector<torch::jit::IValue>& inputs) {
    take_laps();  // those of a request that failed
    thread_local int threads = 0;  // of OpenMP: a setting of each thread
    if (threads != model_->threads) at::set_num_threads(threads = model_->threads);
    torch::jit::IValue result;
    try {
      result = network_.forward(inputs);
      if (device_.is_cuda()) torch::cuda::synchronize(device_.index());
    } catch (const std::exception& error) {
      throw std::runtime_error(model_->name() + ": the network failed: " + message_of(error));
    }
    return result;
  }

  // An input on the device; none where an optional one is not there.
  torch::jit::IValue take(TRITONBACKEND_Request* request, const Declared& declared) const {
    TRITONBACKEND_Input* input = nullptr;
    TRITONSERVER_Error* missing =
        TRITONBACKEND_RequestInput(request, declared.name.c_str(), &input);
    if (missing != nullptr && declared.optional) {
      TRITONSERVER_ErrorDelete(missing);
      return {};
    }
    check(missing);
    return take(input, declared.name);
  }

  // On a CPU the server's memory is shared where it can be.
  at::Tensor take(TRITONBACKEND_Input* input, const std::string& name) const {
    TRITONSERVER_DataType type;
    const int64_t* shape = nullptr;
    uint32_t n_dims = 0, n_buffers = 0;
    uint64_t size = 0;
    check(TRITONBACKEND_InputProperties(
        input, nullptr, &type, &shape, &n_dims, &size, &n_buffers));
    const auto known = find_type(name, [type](const Type& t) { return t.triton == type; }).torch;
    const auto sizes = c10::ArrayRef<int64_t>(shape, n_dims);
    const auto width = c10::elementSize(known);
    std::vector<at::Tensor> parts;
    for (uint32_t number = 0; number < n_buffers; ++number) {
      const void* buffer = nullptr;
      uint64_t part_size = 0;
      TRITONSERVER_MemoryType memory = TRITONSERVER_MEMORY_CPU;
      int64_t device = 0;
      check(TRITONBACKEND_InputBuffer(input, number, &buffer, &part_size, &memory, &device));
      if (part_size == 0) continue;
      const bool gpu = memory == TRITONSERVER_MEMORY_GPU;
      const auto place = gpu ? c10::Device(c10::kCUDA, static_cast<c10::DeviceIndex>(device))
                             : c10::Device(c10::kCPU);
      const auto bytes = at::from_blob(
          const_cast<void*>(buffer), {int64_t(part_size)},
          at::TensorOptions().dtype(at::kByte).device(place));
      if (n_buffers == 1 && reinterpret_cast<uintptr_t>(buffer) % width == 0) {
        return bytes.view(known).view(sizes).to(device_);
      }
      parts.push_back(bytes.to(device_));
    }
    if (parts.empty()) {
      return at::empty(sizes, at::TensorOptions().dtype(known).device(device_));
    }
    return at::cat(parts).view(known).view(sizes);  // a copy, at an address that fits
  }

  void respond(
      TRITONBACKEND_Request* request, TRITONBACKEND_Response* response,
      const torch::jit::IValue& result) const {
    const Declared& output = *model_->output;
    if (!result.isTensor() || !output.fits(result.toTensor())) {
      std::string found = result.isTensor() ? std::string(toString(result.toTensor().scalar_type())) +
                                                  " " + shape_text(result.toTensor().sizes())
                                            : result.tagKind();
      throw std::runtime_error(
          model_->name() + ": output " + output.name + ": the network gave " + found +
          ", expected " + output.type.name + " " + shape_text(output.shape) +
          ", as its configuration says");
    }
    uint32_t wanted = 0;
    check(TRITONBACKEND_RequestOutputCount(request, &wanted));
    if (wanted == 0) return;
    const at::Tensor tensor = result.toTensor().contiguous();
    TRITONBACKEND_Output* place = nullptr;
    check(TRITONBACKEND_ResponseOutput(
        response, &place, output.name.c_str(), output.type.triton, tensor.sizes().data(),
        static_cast<uint32_t>(tensor.dim())));
    void* buffer = nullptr;
    TRITONSERVER_MemoryType memory =
        device_.is_cuda() ? TRITONSERVER_MEMORY_GPU : TRITONSERVER_MEMORY_CPU;
    int64_t number = device_.is_cuda() ? device_.index() : 0;
    check(TRITONBACKEND_OutputBuffer(place, &buffer, tensor.nbytes(), &memory, &number));
    if (tensor.nbytes() == 0) return;
    if (memory != TRITONSERVER_MEMORY_GPU && !tensor.is_cuda()) {
      std::memcpy(buffer, tensor.const_data_ptr(), tensor.nbytes());
      return;
    }
    const auto where = memory == TRITONSERVER_MEMORY_GPU
                           ? c10::Device(c10::kCUDA, static_cast<c10::DeviceIndex>(number))
                           : c10::Device(c10::kCPU);
    at::from_blob(buffer, tensor.sizes(), tensor.options().device(where)).copy_(tensor);
    torch::cuda::synchronize(device_.index());
  }

  // A server that does not take a response or a statistic: nothing can be done about it here.
  static void log_failure(TRITONSERVER_Error* error) {
    if (error == nullptr) return;
    std::fprintf(stderr, "pytorch backend: %s\n", TRITONSERVER_ErrorMessage(error));
    TRITONSERVER_ErrorDelete(error);
  }

  Model* model_ = nullptr;
  std::string name_, journal_, notes_;
  c10::Device device_ = c10::kCPU;
  torch::jit::Module network_;
};

}  // namespace

extern "C" {

TRITONSERVER_Error* TRITONBACKEND_Initialize(TRITONBACKEND_Backend*) {
  return guarded([] {
    uint32_t major = 0, minor = 0;
    check(TRITONBACKEND_ApiVersion(&major, &minor));
    if (major != 1) {
      throw std::runtime_error(
          "the server's backend API has the version " + std::to_string(major) + ", expected 1");
    }
    mallopt(M_MMAP_THRESHOLD, kMmapThreshold);
    mallopt(M_TRIM_THRESHOLD, kTrimThreshold);
  });
}

TRITONSERVER_Error* TRITONBACKEND_ModelInitialize(TRITONBACKEND_Model* model) {
  return guarded([model] {
    auto state = std::make_unique<Model>(model);
    check(TRITONBACKEND_ModelSetState(model, state.get()));
    state.release();
  });
}

TRITONSERVER_Error* TRITONBACKEND_ModelFinalize(TRITONBACKEND_Model* model) {
  return guarded([model] {
    void* state = nullptr;
    check(TRITONBACKEND_ModelState(model, &state));
    delete static_cast<Model*>(state);
  });
}

TRITONSERVER_Error* TRITONBACKEND_ModelInstanceInitialize(TRITONBACKEND_ModelInstance* instance) {
  return guarded([instance] {
    auto state = std::make_unique<Instance>(instance);
    check(TRITONBACKEND_ModelInstanceSetState(instance, state.get()));
    state.release();
  });
}

TRITONSERVER_Error* TRITONBACKEND_ModelInstanceFinalize(TRITONBACKEND_ModelInstance* instance) {
  return guarded([instance] {
    void* state = nullptr;
    check(TRITONBACKEND_ModelInstanceState(instance, &state));
    delete static_cast<Instance*>(state);
  });
}

TRITONSERVER_Error* TRITONBACKEND_ModelInstanceExecute(
    TRITONBACKEND_ModelInstance* instance, TRITONBACKEND_Request** requests, uint32_t n_requests) {
  return guarded([=] {
    void* state = nullptr;
    check(TRITONBACKEND_ModelInstanceState(instance, &state));
    // An error from here would leave the requests to the server; each has its own answer.
    for (uint32_t number = 0; number < n_requests; ++number) {
      static_cast<Instance*>(state)->answer(instance, requests[number]);
    }
  });
}
}
