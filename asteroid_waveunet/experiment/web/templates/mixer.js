/** Plays the rows of a player in exact sync, one output each, from blocks that the page sends. */

const FADE = 0.012; // seconds
const REPORT = 1024; // frames between reports of the position

/**
 * What plays after one order to start.
 *
 * @typedef {object} Run
 * @property {number} number
 * @property {number} at index of the next frame
 * @property {{at: number, rows: Float32Array[]}[]} blocks to play, in order
 * @property {boolean} isLast no more blocks follow
 */

class Mixer extends AudioWorkletProcessor {
  /** @param {{processorOptions: {channels: number}}} options */
  constructor({ processorOptions }) {
    super();
    this.channels = processorOptions.channels;
    /** @type {Run | null} */
    this.run = null;
    /** @type {Run | null} what plays once `run` has faded out */
    this.following = null;
    this.starts = 0;
    this.isStopping = false;
    this.gain = 0;
    this.unreported = 0;
    this.port.onmessage = ({ data }) => this.obey(data);
  }

  /** @param {MixerOrder} order */
  obey(order) {
    const newest = this.following ?? this.run;
    if (order.do === "start") {
      const run = { number: ++this.starts, at: order.at, blocks: [], isLast: false };
      this.following = run;
    } else if (order.do === "stop") {
      this.isStopping = true;
      this.following = null;
    } else if (order.do === "end") {
      if (newest) newest.isLast = true;
    } else {
      newest?.blocks.push(order);
    }
  }

  /**
   * @param {Float32Array[][]} _inputs
   * @param {Float32Array[][]} outputs a row each
   */
  process(_inputs, outputs) {
    if (this.gain === 0) {
      if (this.isStopping || this.following) this.run = null;
      this.isStopping = false;
      this.run ??= this.following;
      if (this.run === this.following) this.following = null;
    }
    if (!this.run) return true;
    const length = outputs[0][0].length;
    for (let i = 0; i < length; i++) {
      const block = this.block(this.run);
      if (!block) {
        this.gain = 0; // nothing to fade out
        break;
      }
      const isEnding = this.isStopping || this.following !== null;
      this.gain = Math.min(Math.max(this.gain + (isEnding ? -1 : 1) / (FADE * sampleRate), 0), 1);
      const frame = this.run.at++ - block.at;
      outputs.forEach((channels, row) => {
        channels.forEach((samples, channel) => {
          samples[i] = this.gain * block.rows[row][frame * channels.length + channel];
        });
      });
      if (isEnding && this.gain === 0) break;
    }
    this.report(this.run, length);
    return true;
  }

  /**
   * Return the block of the next frame; the next block where one is over.
   *
   * @param {Run} run
   */
  block(run) {
    for (;;) {
      const [block] = run.blocks;
      if (!block || run.at < block.at + this.frames(block)) return block;
      run.blocks.shift();
      if (run.blocks.length) run.at = run.blocks[0].at;
    }
  }

  /** @param {{rows: Float32Array[]}} block */
  frames(block) {
    return block.rows[0].length / this.channels;
  }

  /**
   * @param {Run} run
   * @param {number} length frames since the last call
   */
  report(run, length) {
    this.unreported += length;
    const isAtEnd = run.isLast && !run.blocks.length;
    if (this.unreported < REPORT && !isAtEnd) return;
    this.unreported = 0;
    this.port.postMessage({ start: run.number, at: run.at, isAtEnd });
  }
}

registerProcessor("mixer", Mixer);
