/** Stems of a song: kept outside the page's own memory, read where they are needed. */

import { mixedDown } from "./channels.js";
import { interleaved, wavHeader } from "./wav.js";

const BLOCK = 2 ** 18; // frames of 16-bit files converted at a time
const FULL_SCALE = 2 ** 15;

/** Interleaved samples that grow, in Blobs: browsers move these to disk when they are many. */
class Recording {
  /** @param {number} channels */
  constructor(channels) {
    this.channels = channels;
    /** @type {Blob[]} */
    this.parts = [];
    /** @type {number[]} index of each part's first frame */
    this.starts = [];
    this.frames = 0;
  }

  /** @param {Float32Array<ArrayBuffer>} samples */
  append(samples) {
    this.parts.push(new Blob([samples]));
    this.starts.push(this.frames);
    this.frames += samples.length / this.channels;
  }

  /**
   * Read interleaved samples; fewer at the end.
   *
   * @param {number} at index of the first frame
   * @param {number} length in frames
   */
  async read(at, length) {
    const end = Math.min(at + length, this.frames);
    const width = 4 * this.channels;
    const slices = [];
    for (let i = 0; i < this.parts.length; i++) {
      const start = this.starts[i];
      const [from, to] = [Math.max(at, start) - start, end - start];
      const frames = this.parts[i].size / width;
      if (from < frames && to > 0) {
        slices.push(this.parts[i].slice(from * width, Math.min(to, frames) * width));
      }
    }
    return new Float32Array(await new Blob(slices).arrayBuffer());
  }
}

/** The stems that are known so far, and the song that they are of. */
export class Stems {
  /**
   * @param {import("./wav.js").Wav} song
   * @param {string[]} sources
   */
  constructor(song, sources) {
    this.song = song;
    this.rate = song.rate;
    this.channels = Math.min(song.channels, 2);
    this.sources = sources;
    this.recordings = sources.map(() => new Recording(this.channels));
    this.isComplete = false;
  }

  get frames() {
    return this.recordings[0].frames;
  }

  /** @param {Part} part */
  append(part) {
    part.forEach((samples, i) => this.recordings[i].append(samples));
  }

  /**
   * Read the song and all stems, interleaved; fewer frames at the end.
   *
   * @param {number} at index of the first frame
   * @param {number} length in frames
   * @returns {Promise<Float32Array<ArrayBuffer>[]>}
   */
  async read(at, length) {
    const known = Math.min(length, this.frames - at);
    return Promise.all([
      this.readSong(at, known),
      ...this.recordings.map((recording) => recording.read(at, known)),
    ]);
  }

  /**
   * Read the song, interleaved, with the channels of the stems.
   *
   * @param {number} at index of the first frame
   * @param {number} length in frames
   */
  async readSong(at, length) {
    return interleaved(mixedDown(await this.song.read(at, length)));
  }

  /**
   * Return the WAV file of a stem, as far as it is known.
   *
   * @param {number} source its index
   * @param {boolean} isFloat 32-bit floats; otherwise 16-bit integers, see `limited`
   */
  async wav(source, isFloat) {
    const { rate, channels, frames } = this;
    /** @type {BlobPart[]} */
    const parts = [wavHeader(rate, channels, frames, isFloat)];
    if (isFloat) parts.push(...this.recordings[source].parts);
    for (let at = 0; at < frames && !isFloat; at += BLOCK) {
      const length = Math.min(BLOCK, frames - at);
      const stems = await Promise.all(this.recordings.map((each) => each.read(at, length)));
      parts.push(new Blob([toIntegers(limited(stems)[source])]));
    }
    return new Blob(parts, { type: "audio/wav" });
  }
}

/**
 * Limit each stem to full scale and move the excess to the others, which preserves their sum where
 * they have room: `--clip clamp` of `waveunet separate`.
 *
 * @param {Float32Array<ArrayBuffer>[]} stems
 */
export function limited(stems) {
  const within = stems.map((samples) => samples.map((x) => Math.min(Math.max(x, -1), 1)));
  for (let i = 0; i < stems[0].length; i++) {
    const excess = stems.reduce((sum, samples, s) => sum + samples[i] - within[s][i], 0);
    if (excess === 0) continue;
    const rooms = within.map((samples) => (excess > 0 ? 1 - samples[i] : 1 + samples[i]));
    const room = rooms.reduce((sum, each) => sum + each, 0);
    within.forEach((samples, s) => {
      const moved = room ? samples[i] + (rooms[s] / room) * excess : samples[i];
      samples[i] = Math.min(Math.max(moved, -1), 1);
    });
  }
  return within;
}

/** @param {Float32Array} samples */
function toIntegers(samples) {
  return Int16Array.from(samples, (x) => Math.min(Math.round(x * FULL_SCALE), FULL_SCALE - 1));
}
