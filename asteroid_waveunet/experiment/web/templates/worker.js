/** Separates songs beside the page, so that the page stays responsive. */

import { averaged, mixedDown } from "./channels.js";
import { Network, loadRuntime } from "./network.js";
import { Resampler, joined } from "./resample.js";
import { interleaved, openWav } from "./wav.js";

/** @typedef {import("./wav.js").Wav} Wav */

/** @type {Network | null} */
let network = null;
let stopped = false;

/** @type {(answer: Answer, transferred?: Transferable[]) => void} */
const answer = (message, transferred = []) => self.postMessage(message, { transfer: transferred });

self.onmessage = async ({ data }) => {
  const order = /** @type {Order} */ (data);
  try {
    if (order.do === "load") {
      const ort = await loadRuntime(order.model.runtime, order.page, order.threads);
      network = await Network.load(ort, order.model, order.page);
      answer({ is: "ready" });
    } else if (order.do === "stop") {
      stopped = true;
    } else if (network) {
      stopped = false;
      await separate(order.song, network);
    }
  } catch (error) {
    answer({ is: "failed", reason: error instanceof Error ? error.message : String(error) });
  }
};

/**
 * Separate a song; answer with one part of its stems after another.
 *
 * @param {Blob} file a WAV file
 * @param {Network} network
 */
async function separate(file, network) {
  const song = await openWav(file);
  if (!song) throw new Error("The song is no WAV file of integers or floats.");
  const stems = new Separation(song, network);
  const block = Math.ceil((network.model.hop * song.rate) / network.model.sample_rate);
  for (let at = 0; at < song.frames && !stopped; at += block) {
    await stems.push(mixedDown(checked(await song.read(at, block), at / song.rate)));
  }
  if (!stopped) await stems.finish();
  answer({ is: "done" });
}

/**
 * Return the samples if they are finite; estimates around others would not be.
 *
 * @template {Float32Array[]} T
 * @param {T} channels
 * @param {number} seconds where they are in the song
 */
function checked(channels, seconds) {
  if (channels.every((samples) => samples.every(Number.isFinite))) return channels;
  throw new Error(`The song has NaN or infinite samples after ${seconds.toFixed(1)} s; repair it first.`);
}

/** A song on its way through the network: to the model's rate and channels, and back. */
class Separation {
  /**
   * @param {Wav} song
   * @param {Network} network
   */
  constructor(song, network) {
    const { model } = network;
    this.network = network;
    this.channels = Math.min(song.channels, 2);
    this.missing = song.frames;
    this.delay = model.delay; // estimates before the song's first
    this.unknown = 0; // samples at the model's rate without estimates yet
    this.isEach = model.channels === 1; // a mono model separates each channel
    if (!this.isEach && this.channels !== 1 && this.channels !== model.channels) {
      throw new Error(`The model takes ${model.channels} channels, the song has ${song.channels}.`);
    }
    network.restart(this.isEach ? this.channels : 1);
    this.in = new Resampler(song.rate, model.sample_rate, this.channels);
    const signals = model.sources.length * this.channels;
    this.out = new Resampler(model.sample_rate, song.rate, signals);
    this.waiting = Array.from({ length: this.channels }, () => new Float32Array(0));
  }

  /** @param {Float32Array[]} channels */
  async push(channels) {
    await this.compute(this.counted(this.in.feed(channels)));
  }

  /** @param {Float32Array[]} samples at the model's rate */
  counted(samples) {
    this.unknown += samples[0].length;
    return samples;
  }

  async finish() {
    const { step, delay } = this.network.model;
    await this.compute(this.counted(this.in.flush()));
    const waiting = this.waiting[0].length;
    const padding = Math.ceil((waiting + delay) / step) * step - waiting;
    await this.compute(this.waiting.map(() => new Float32Array(padding)), step);
    this.give(this.out.flush());
  }

  /**
   * Separate what waits and these samples, at the model's rate, hop by hop.
   *
   * @param {Float32Array[]} samples
   * @param {number} shortest length of a hop; fewer samples wait
   */
  async compute(samples, shortest = this.network.model.hop) {
    let waiting = this.waiting.map((before, channel) => joined(before, samples[channel]));
    for (; waiting[0].length >= shortest && !stopped; await macrotask()) {
      const length = Math.min(waiting[0].length, this.network.model.hop);
      const estimates = await this.hop(waiting.map((channel) => channel.subarray(0, length)));
      waiting = waiting.map((channel) => channel.subarray(length));
      const early = Math.min(this.delay, length);
      this.delay -= early;
      const end = Math.min(length, early + this.unknown);
      this.unknown -= end - early;
      this.give(this.out.feed(estimates.flat().map((channel) => channel.subarray(early, end))));
    }
    this.waiting = waiting.map((channel) => channel.slice());
  }

  /**
   * Separate one hop, `[channel][time]` to `[source][channel][time]`.
   *
   * @param {Float32Array[]} mixture
   */
  async hop(mixture) {
    const { model } = this.network;
    if (this.isEach) {
      /** @type {Float32Array[][][]} */
      const tracks = [];
      for (let track = 0; track < this.channels; track++) {
        tracks.push(await this.network.separate([mixture[track]], track));
      }
      return model.sources.map((_, source) => tracks.map((estimates) => estimates[source][0]));
    }
    const isRepeated = mixture.length < model.channels;
    const all = isRepeated ? Array(model.channels).fill(mixture[0]) : mixture;
    const estimates = await this.network.separate(all, 0);
    return isRepeated ? estimates.map((channels) => [averaged(channels)]) : estimates;
  }

  /**
   * Answer with samples of all sources' channels, up to the song's length.
   *
   * @param {Float32Array[]} signals
   */
  give(signals) {
    const length = Math.min(signals[0].length, this.missing);
    if (!length) return;
    this.missing -= length;
    const part = this.network.model.sources.map((_, source) => {
      const channels = signals.slice(source * this.channels, (source + 1) * this.channels);
      return interleaved(channels.map((channel) => channel.subarray(0, length)));
    });
    answer({ is: "part", part }, part.map((samples) => samples.buffer));
  }
}

/** Let waiting messages, such as an order to stop, be handled. */
function macrotask() {
  return new Promise((resolve) => setTimeout(resolve));
}
