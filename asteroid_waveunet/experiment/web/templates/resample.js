/** Band-limited resampling by a windowed sinc, block by block. */

const PASSBAND = 0.955; // middle of the filter's slope, as a share of the lower Nyquist frequency
const ZEROS = 71; // half the filter's length in samples of the lower rate: a slope of 0.09
const BETA = 10.06; // Kaiser window: 100 dB of attenuation

/** Resamples parallel signals; the result is aligned with the input. */
export class Resampler {
  /**
   * @param {number} from rate of the input, a whole number of Hz
   * @param {number} to rate of the output
   * @param {number} channels
   */
  constructor(from, to, channels) {
    const divisor = greatestCommonDivisor(from, to);
    this.phases = to / divisor;
    this.advance = from / divisor; // input samples per `phases` output samples
    this.isNeeded = from !== to;
    const ratio = Math.min(1, to / from);
    this.reach = this.isNeeded ? 2 * Math.ceil(ZEROS / ratio / 2) : 0;
    this.filters = this.isNeeded ? filters(this.phases, this.reach, ratio * PASSBAND) : null;
    this.first = -this.reach; // index of the first held sample
    this.next = 0; // index of the next output sample
    this.held = Array.from({ length: channels }, () => new Float32Array(this.reach));
  }

  /**
   * Resample the next block; return the samples that are final.
   *
   * @param {Float32Array[]} block one array per channel, of one length
   * @returns {Float32Array[]}
   */
  feed(block) {
    if (!this.filters) return block;
    const held = this.held.map((before, channel) => joined(before, block[channel]));
    // Output sample m lies at m * advance / phases; its filter sees `reach` samples beyond.
    const end = this.first + held[0].length - this.reach;
    const last = Math.max(this.next, Math.ceil((end * this.phases) / this.advance));
    const output = held.map((samples) => this.filtered(samples, last));
    this.next = last;
    const seen = Math.floor((last * this.advance) / this.phases) - this.reach + 1 - this.first;
    this.held = held.map((samples) => samples.slice(Math.max(0, seen)));
    this.first += Math.max(0, seen);
    return output;
  }

  /** Return the remaining samples. */
  flush() {
    return this.feed(this.held.map(() => new Float32Array(this.reach)));
  }

  /**
   * @param {Float32Array} samples
   * @param {number} last index after the last output sample
   */
  filtered(samples, last) {
    const { filters, phases, advance, first, reach, next } = this;
    const output = new Float32Array(last - next);
    if (!filters) return output;
    const width = 2 * reach;
    for (let m = next; m < last; m++) {
      const position = m * advance;
      const at = Math.floor(position / phases) - reach + 1 - first;
      const filter = (position % phases) * width;
      // Four sums, as each addition to one sum would wait for the one before.
      let [a, b, c, d] = [0, 0, 0, 0];
      for (let k = 0; k < width; k += 4) {
        a += samples[at + k] * filters[filter + k];
        b += samples[at + k + 1] * filters[filter + k + 1];
        c += samples[at + k + 2] * filters[filter + k + 2];
        d += samples[at + k + 3] * filters[filter + k + 3];
      }
      output[m - next] = a + b + (c + d);
    }
    return output;
  }
}

/**
 * Return a filter of `2 * reach` taps for each phase, at unity gain for constants.
 *
 * @param {number} phases
 * @param {number} reach
 * @param {number} cutoff as a share of the input's Nyquist frequency
 */
function filters(phases, reach, cutoff) {
  const width = 2 * reach;
  const taps = new Float32Array(phases * width);
  for (let phase = 0; phase < phases; phase++) {
    const filter = Float64Array.from({ length: width }, (_, k) => {
      const distance = k - reach + 1 - phase / phases;
      return sinc(cutoff * distance) * kaiser(distance / reach);
    });
    const sum = filter.reduce((total, tap) => total + tap, 0);
    for (let k = 0; k < width; k++) taps[phase * width + k] = filter[k] / sum;
  }
  return taps;
}

/** @param {number} x */
function sinc(x) {
  return x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
}

/** @param {number} x in [-1, 1] */
function kaiser(x) {
  return bessel(BETA * Math.sqrt(Math.max(0, 1 - x * x))) / bessel(BETA);
}

/** Modified Bessel function of order zero, by its series. @param {number} x */
function bessel(x) {
  let [term, sum] = [1, 1];
  for (let k = 1; term > 1e-12 * sum; k++) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}

/**
 * @param {number} a
 * @param {number} b
 * @returns {number}
 */
function greatestCommonDivisor(a, b) {
  return b ? greatestCommonDivisor(b, a % b) : a;
}

/**
 * @param {Float32Array} first
 * @param {Float32Array} second
 */
export function joined(first, second) {
  const both = new Float32Array(first.length + second.length);
  both.set(first);
  both.set(second, first.length);
  return both;
}
