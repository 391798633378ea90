/** Reads WAV files of any length piece by piece, and writes them. */

/** @typedef {(view: DataView, byte: number) => number} Decode */

/** Format tag and bits -> how to read a sample at full scale 1. @type {Record<string, Decode>} */
const ENCODINGS = {
  "1/8": (view, byte) => (view.getUint8(byte) - 128) / 2 ** 7,
  "1/16": (view, byte) => view.getInt16(byte, true) / 2 ** 15,
  "1/24": (view, byte) =>
    ((view.getInt8(byte + 2) << 16) | view.getUint16(byte, true)) / 2 ** 23,
  "1/32": (view, byte) => view.getInt32(byte, true) / 2 ** 31,
  "3/32": (view, byte) => view.getFloat32(byte, true),
  "3/64": (view, byte) => view.getFloat64(byte, true),
};
const EXTENSIBLE = 0xfffe;
const HEADER_BYTES = 44;
const UNKNOWN = 2 ** 32 - 1; // size of what 32 bits do not hold: to the end of the file

/** A WAV file. Its samples are read when they are needed. */
export class Wav {
  /**
   * @param {Blob} data the samples, interleaved
   * @param {number} rate in Hz
   * @param {number} channels
   * @param {number} bits of a sample
   * @param {Decode} decode
   */
  constructor(data, rate, channels, bits, decode) {
    this.data = data;
    this.rate = rate;
    this.channels = channels;
    this.sampleBytes = bits / 8;
    this.decode = decode;
    this.frames = Math.floor(data.size / (channels * this.sampleBytes));
  }

  /**
   * Read samples, one array per channel; fewer at the end of the file.
   *
   * @param {number} at index of the first frame
   * @param {number} length in frames
   * @returns {Promise<Float32Array<ArrayBuffer>[]>}
   */
  async read(at, length) {
    const end = Math.min(at + length, this.frames);
    const width = this.channels * this.sampleBytes;
    const view = new DataView(await this.data.slice(at * width, end * width).arrayBuffer());
    return Array.from({ length: this.channels }, (_, channel) => {
      const samples = new Float32Array(Math.max(0, end - at));
      let byte = channel * this.sampleBytes;
      for (let i = 0; i < samples.length; i++, byte += width) samples[i] = this.decode(view, byte);
      return samples;
    });
  }
}

/**
 * Open a WAV file of integers or floats; null for any other file.
 *
 * @param {Blob} file
 * @returns {Promise<Wav | null>}
 */
export async function openWav(file) {
  const start = await view(file, 0, 12);
  if (start.byteLength < 12 || text(start, 8) !== "WAVE") return null;
  if (!["RIFF", "RF64"].includes(text(start, 0))) return null;
  /** @type {DataView | null} */
  let format = null;
  let long = file.size; // size of the data where 32 bits do not hold it
  for (let at = 12; at + 8 <= file.size; ) {
    const head = await view(file, at, 8);
    const size = head.getUint32(4, true);
    at += 8;
    if (text(head, 0) === "ds64") {
      long = Number((await view(file, at, 16)).getBigUint64(8, true)) || file.size;
    }
    if (text(head, 0) === "fmt ") format = await view(file, at, Math.min(size, 40));
    if (text(head, 0) === "data" && format) {
      const isStated = size && size !== UNKNOWN; // it is not in a stream
      return fromFormat(format, file.slice(at, at + (isStated ? size : long)));
    }
    at += size + (size % 2);
  }
  return null;
}

/**
 * @param {DataView} format the chunk "fmt "
 * @param {Blob} data
 */
function fromFormat(format, data) {
  if (format.byteLength < 16) return null;
  let tag = format.getUint16(0, true);
  if (tag === EXTENSIBLE && format.byteLength >= 26) tag = format.getUint16(24, true);
  const [channels, rate] = [format.getUint16(2, true), format.getUint32(4, true)];
  const bits = format.getUint16(14, true);
  const encoding = `${tag}/${bits}`;
  if (!(encoding in ENCODINGS) || !channels || !rate) return null;
  return new Wav(data, rate, channels, bits, ENCODINGS[encoding]);
}

/**
 * @param {Blob} file
 * @param {number} at
 * @param {number} length
 */
async function view(file, at, length) {
  return new DataView(await file.slice(at, at + length).arrayBuffer());
}

/**
 * @param {DataView} bytes
 * @param {number} at
 */
function text(bytes, at) {
  return String.fromCharCode(...[0, 1, 2, 3].map((i) => bytes.getUint8(at + i)));
}

/**
 * Return the header of a WAV file.
 *
 * @param {number} rate in Hz
 * @param {number} channels
 * @param {number} frames
 * @param {boolean} isFloat 32-bit floats; otherwise 16-bit integers
 */
export function wavHeader(rate, channels, frames, isFloat) {
  const header = new DataView(new ArrayBuffer(HEADER_BYTES));
  const width = channels * (isFloat ? 4 : 2);
  const bytes = frames * width;
  /** @type {(at: number, letters: string) => void} */
  const write = (at, letters) => {
    for (let i = 0; i < 4; i++) header.setUint8(at + i, letters.charCodeAt(i));
  };
  write(0, "RIFF");
  header.setUint32(4, Math.min(HEADER_BYTES - 8 + bytes, UNKNOWN), true);
  write(8, "WAVE");
  write(12, "fmt ");
  header.setUint32(16, 16, true);
  header.setUint16(20, isFloat ? 3 : 1, true);
  header.setUint16(22, channels, true);
  header.setUint32(24, rate, true);
  header.setUint32(28, rate * width, true);
  header.setUint16(32, width, true);
  header.setUint16(34, isFloat ? 32 : 16, true);
  write(36, "data");
  header.setUint32(40, Math.min(bytes, UNKNOWN), true);
  return header.buffer;
}

/**
 * Interleave channels.
 *
 * @param {Float32Array[]} channels of one length
 */
export function interleaved(channels) {
  const samples = new Float32Array(channels.length * channels[0].length);
  channels.forEach((channel, at) => {
    for (let i = 0; i < channel.length; i++) samples[i * channels.length + at] = channel[i];
  });
  return samples;
}
