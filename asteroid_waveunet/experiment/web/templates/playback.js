/** Plays stems while they grow: sends the mixer what comes next. */

const AHEAD = 3; // seconds that the mixer has in store
const BLOCK = 0.5; // seconds of a block

/** A `Sound` of the player. */
export class Playback {
  /** @param {import("./stems.js").Stems} stems */
  constructor(stems) {
    this.stems = stems;
    /** @type {AudioContext | null} */
    this.context = null;
    /** @type {AudioWorkletNode | null} */
    this.mixer = null;
    this.starts = 0;
    this.at = 0; // frame that is heard
    this.ahead = 0; // frames sent beyond it
    this.next = 0; // frame to send next
    this.isPlaying = false;
    this.isFeeding = false;
    this.isLoop = false;
  }

  /** @param {Player} player */
  async load(player) {
    const { rate, channels } = this.stems;
    if (!window.AudioContext || !window.AudioWorklet) {
      throw new Error(
        "This browser plays stems in sync only from https addresses and localhost. Download them to play them elsewhere.",
      );
    }
    this.context = new AudioContext({ sampleRate: rate });
    await this.context.audioWorklet.addModule("mixer.js");
    this.mixer = new AudioWorkletNode(this.context, "mixer", {
      numberOfInputs: 0,
      numberOfOutputs: player.rows.length,
      outputChannelCount: player.rows.map(() => channels),
      processorOptions: { channels },
    });
    this.mixer.port.onmessage = ({ data }) => this.hear(data);
    for (const [i, row] of player.rows.entries()) {
      this.mixer.connect(row.connect(this.context), i);
    }
    player.mix();
    await this.context.resume();
  }

  /**
   * @param {number} seconds
   * @param {boolean} loop
   */
  start(seconds, loop) {
    void this.context?.resume();
    this.isLoop = loop;
    this.at = Math.min(Math.round(seconds * this.stems.rate), this.stems.frames);
    this.next = this.at;
    this.ahead = 0;
    this.starts += 1;
    this.isPlaying = true;
    this.tell({ do: "start", at: this.at });
    void this.feed();
  }

  stop() {
    this.isPlaying = false;
    this.tell({ do: "stop" });
  }

  /** @param {boolean} loop */
  setLoop(loop) {
    this.start(this.position(), loop);
  }

  position() {
    return this.at / this.stems.rate;
  }

  close() {
    void this.context?.close();
  }

  /** @param {MixerReport} report */
  hear({ start, at, isAtEnd }) {
    if (start !== this.starts || !this.isPlaying) return;
    const { frames } = this.stems;
    this.ahead -= at >= this.at ? at - this.at : at + frames - this.at;
    this.at = isAtEnd ? frames : at;
    void this.feed();
  }

  /** Send blocks until the mixer has enough, as far as they are known; call it when there is more. */
  async feed() {
    if (this.isFeeding) return;
    this.isFeeding = true;
    try {
      while (this.isPlaying && this.ahead < AHEAD * this.stems.rate && this.isMore()) {
        await this.send(this.starts);
      }
    } finally {
      this.isFeeding = false;
    }
  }

  isMore() {
    return this.next < this.stems.frames || this.stems.isComplete;
  }

  /** Send the next block, or that there is none. @param {number} start */
  async send(start) {
    const { frames, rate } = this.stems;
    if (this.next >= frames) {
      if (this.isLoop && frames) this.next = 0;
      else {
        this.ahead = Infinity;
        return this.tell({ do: "end" });
      }
    }
    const at = this.next;
    const length = Math.min(Math.round(BLOCK * rate), frames - at);
    const rows = await this.stems.read(at, length);
    if (start !== this.starts || !this.isPlaying) return; // started elsewhere meanwhile
    this.next = at + length;
    this.ahead += length;
    this.tell({ do: "block", at, rows });
  }

  /** @param {MixerOrder} order */
  tell(order) {
    this.mixer?.port.postMessage(order);
  }
}
