// The recordings of the report's excerpts: FLAC in base64, from the scripts in audio/.
"use strict";

/* global Player, RAMP */

const LEAD = 0.05; // seconds of scheduling delay, to start all recordings in sync

/** Excerpt -> stem -> FLAC, in base64. @type {Map<string, Record<string, string>>} */
const files = new Map();
/** @type {AudioContext | null} */
let context = null;

/**
 * Called by the scripts in audio/.
 *
 * @param {string} excerpt
 * @param {Record<string, string>} recordings
 */
function addRecordings(excerpt, recordings) {
  files.set(excerpt, recordings);
}

function audioContext() {
  if (!window.AudioContext) {
    throw new Error(
      "This browser has no Web Audio, which synchronous playback needs. Download the FLAC files to play them elsewhere.",
    );
  }
  context ??= new AudioContext();
  return context;
}

/** @param {string} script */
function run(script) {
  return new Promise((resolve, reject) => {
    const element = document.createElement("script");
    element.src = script;
    element.onload = resolve;
    element.onerror = () =>
      reject(new Error(`${script} could not be loaded. Keep the audio folder next to this page.`));
    document.head.append(element);
  });
}

/**
 * @param {string | undefined} base64
 * @param {string} name
 */
async function decoded(base64, name) {
  if (!base64) {
    throw new Error(
      `The script in audio/ does not contain the recording of ${name}. Check that the folder belongs to this page.`,
    );
  }
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  try {
    return fadeEnds(await audioContext().decodeAudioData(bytes.buffer));
  } catch (cause) {
    throw new Error(
      `This browser cannot decode the FLAC file of ${name}. Download it to play it elsewhere.`,
      { cause },
    );
  }
}

/** Fade the ends of an excerpt, which would click. @param {AudioBuffer} buffer */
function fadeEnds(buffer) {
  const length = Math.min(Math.round(RAMP * buffer.sampleRate), buffer.length >> 1);
  for (let channel = 0; channel < buffer.numberOfChannels; channel++) {
    const samples = buffer.getChannelData(channel);
    for (let i = 0; i < length; i++) {
      samples[i] *= i / length;
      samples[samples.length - 1 - i] *= i / length;
    }
  }
  return buffer;
}

// The decoded recordings of an excerpt; `began` is the context's time at the position `from`.
class Recordings {
  /** @param {HTMLElement} element */
  constructor(element) {
    const { excerpt = "", script = "", megabytes = "", seconds } = element.dataset;
    this.excerpt = excerpt;
    this.script = script;
    this.megabytes = megabytes;
    this.seconds = Number(seconds);
    /** @type {{buffer: AudioBuffer, row: GainNode}[]} */
    this.recordings = [];
    /** @type {{source: AudioBufferSourceNode, fade: GainNode}[]} */
    this.sounds = [];
    this.from = 0;
    this.began = 0;
    this.loop = false;
  }

  /** @param {Player} player */
  async load(player) {
    const context = audioContext();
    player.say(`Loading ${this.megabytes} MB…`);
    if (!files.has(this.excerpt)) await run(this.script);
    const recordings = files.get(this.excerpt) ?? {};
    const buffers = await Promise.all(
      player.rows.map((row) => decoded(recordings[row.stem], row.name)),
    );
    this.recordings = player.rows.map((row, i) => ({
      buffer: buffers[i],
      row: row.connect(context),
    }));
    files.delete(this.excerpt);
    player.mix();
    await context.resume();
  }

  /**
   * @param {number} at
   * @param {boolean} loop
   */
  start(at, loop) {
    const context = audioContext();
    void context.resume();
    this.from = at;
    this.began = context.currentTime + LEAD;
    this.loop = loop;
    this.sounds = this.recordings.map(({ buffer, row }) => {
      const source = new AudioBufferSourceNode(context, { buffer, loop });
      const fade = new GainNode(context, { gain: 0 });
      fade.gain.setValueAtTime(0, this.began).linearRampToValueAtTime(1, this.began + RAMP);
      source.connect(fade).connect(row);
      source.start(this.began, at);
      return { source, fade };
    });
  }

  stop() {
    const now = audioContext().currentTime;
    for (const { source, fade } of this.sounds) {
      fade.gain.cancelScheduledValues(now);
      fade.gain.setTargetAtTime(0, now, RAMP / 3);
      source.stop(now + 2 * RAMP);
    }
  }

  /**
   * Restart the clock at the position in the loop, which ignores completed rounds.
   *
   * @param {boolean} loop
   */
  setLoop(loop) {
    const now = audioContext().currentTime;
    this.from = this.elapsed() % this.seconds;
    this.began = Math.max(now, this.began);
    this.loop = loop;
    for (const { source } of this.sounds) source.loop = loop;
  }

  elapsed() {
    return this.from + Math.max(audioContext().currentTime - this.began, 0);
  }

  position() {
    return this.loop ? this.elapsed() % this.seconds : Math.min(this.elapsed(), this.seconds);
  }
}

for (const element of document.querySelectorAll(".player")) {
  const section = /** @type {HTMLElement & {player?: Player}} */ (element);
  section.player = new Player(section, new Recordings(section));
}
