/** The network: one hop as an ONNX file, run by ONNX Runtime with its state in between. */

/** @typedef {typeof import("onnxruntime-web")} Ort */
/** @typedef {import("onnxruntime-web").Tensor} Tensor */

/**
 * Fetch a file and check its contents.
 *
 * @param {string} what for messages
 * @param {string | URL} url
 * @param {string} integrity
 */
async function fetchChecked(what, url, integrity) {
  try {
    const response = await fetch(url, { integrity, credentials: "omit" });
    if (!response.ok) throw new Error(`HTTP status ${response.status}`);
    return await response.arrayBuffer();
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`${what} could not be loaded from ${url} (${reason}).`, { cause: error });
  }
}

/**
 * Load ONNX Runtime.
 *
 * @param {Model["runtime"]} runtime
 * @param {string} page URL of the page's folder
 * @param {number} threads
 * @returns {Promise<Ort>}
 */
export async function loadRuntime(runtime, page, threads) {
  const folder = new URL(runtime.folder, page);
  const what = `ONNX Runtime ${runtime.version}, which computes the stems,`;
  const [script, binary] = await Promise.all(
    [runtime.module, runtime.binary].map((file) =>
      fetchChecked(what, new URL(file.name, folder), file.integrity),
    ),
  );
  const module = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
  const ort = await import(module);
  ort.env.wasm.wasmBinary = binary;
  ort.env.wasm.numThreads = threads;
  return ort;
}

/** A network that separates one track after another, hop by hop. */
export class Network {
  /**
   * @param {Ort} ort
   * @param {import("onnxruntime-web").InferenceSession} session
   * @param {Model} model
   */
  constructor(ort, session, model) {
    this.ort = ort;
    this.session = session;
    this.model = model;
    /** @type {Record<string, Tensor>[]} the state of each track */
    this.states = [];
  }

  /**
   * @param {Ort} ort
   * @param {Model} model
   * @param {string} page URL of the page's folder
   */
  static async load(ort, model, page) {
    const { name, integrity } = model.network;
    const url = new URL(name, page);
    const file = await fetchChecked(`The model ${model.name}`, url, integrity);
    // Threads that wait busily would slow down a computer with other work.
    const extra = { session: { intra_op: { allow_spinning: "0" } } };
    const session = await ort.InferenceSession.create(file, { extra });
    return new Network(ort, session, model);
  }

  /**
   * Begin new tracks: reset the state to silence.
   *
   * @param {number} tracks number of tracks, separated side by side
   */
  restart(tracks) {
    const values = this.session.inputMetadata.filter((value) => value.name !== "mixture");
    this.states = Array.from({ length: tracks }, () =>
      Object.fromEntries(values.map((value) => [value.name, this.silence(value)])),
    );
  }

  /** @param {import("onnxruntime-web").InferenceSession.ValueMetadata} value */
  silence(value) {
    if (!value.isTensor) throw new Error(`The model's input ${value.name} is no tensor.`);
    const shape = value.shape.map(Number);
    const size = shape.reduce((product, length) => product * length, 1);
    return new this.ort.Tensor("float32", new Float32Array(size), shape);
  }

  /**
   * Separate the next samples of a track.
   *
   * @param {Float32Array[]} mixture of each channel as many samples, a multiple of `model.step`
   * @param {number} track its index
   * @returns {Promise<Float32Array[][]>} for each source the samples of each channel
   */
  async separate(mixture, track) {
    const { channels, sources } = this.model;
    const length = mixture[0].length;
    const input = new Float32Array(channels * length);
    mixture.forEach((samples, channel) => input.set(samples, channel * length));
    const tensor = new this.ort.Tensor("float32", input, [1, channels, length]);
    const { estimates, ...next } = await this.session.run({
      mixture: tensor,
      ...this.states[track],
    });
    this.states[track] = Object.fromEntries(
      Object.entries(next).map(([name, state]) => [name.replace("next_", ""), state]),
    );
    const samples = /** @type {Float32Array} */ (estimates.data);
    return sources.map((_, source) =>
      mixture.map((_, channel) => {
        const at = (source * channels + channel) * length;
        return samples.subarray(at, at + length);
      }),
    );
  }
}
