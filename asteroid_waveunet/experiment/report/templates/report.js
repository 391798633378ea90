// Plays the recordings of an excerpt in sync, each with a separate gain.
"use strict";

const RAMP = 0.012; // seconds: inaudible as a fade, long enough to avoid clicks
const LEAD = 0.05; // seconds of scheduling delay, to start all recordings in sync
const METER = 50; // dB range of a level bar

const files = new Map(); // excerpt -> stem -> FLAC, in base64
const players = [];
let context = null;

// Called by the scripts in audio/.
function addRecordings(excerpt, recordings) {
  files.set(excerpt, recordings);
}

function audioContext() {
  const Context = window.AudioContext || window.webkitAudioContext;
  if (!Context) {
    throw new Error("This browser has no Web Audio, which synchronous playback needs. Download the FLAC files to play them elsewhere.");
  }
  context ??= new Context();
  return context;
}

function run(script) {
  return new Promise((resolve, reject) => {
    const element = document.createElement("script");
    element.src = script;
    element.onload = resolve;
    element.onerror = () => reject(new Error(`${script} could not be loaded. Keep the audio folder next to this page.`));
    document.head.append(element);
  });
}

async function decoded(base64, name) {
  if (!base64) throw new Error(`The script in audio/ does not contain the recording of ${name}. Check that the folder belongs to this page.`);
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  try {
    return fadeEnds(await audioContext().decodeAudioData(bytes.buffer));
  } catch {
    throw new Error(`This browser cannot decode the FLAC file of ${name}. Download it to play it elsewhere.`);
  }
}

// Fade the ends of an excerpt, which would click.
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

function isPressed(button) {
  return button.getAttribute("aria-pressed") === "true";
}

function press(button, pressed) {
  button.setAttribute("aria-pressed", String(pressed));
}

// One recording. Its buttons hold the solo and mute state.
class Row {
  constructor(element) {
    this.element = element;
    ({ stem: this.stem, name: this.name, kind: this.kind, source: this.source } = element.dataset);
    this.matching = Number(element.dataset.matching);
    this.solo = element.querySelector("[data-do=solo]");
    this.mute = element.querySelector("[data-do=mute]");
    this.bar = element.querySelector(".level");
  }

  async load(base64) {
    this.buffer = await decoded(base64, this.name);
    this.gain = new GainNode(context, { gain: 0 });
    this.analyser = new AnalyserNode(context, { fftSize: 2048 });
    this.gain.connect(this.analyser).connect(context.destination);
  }

  setGain(value) {
    this.target = value;
    this.element.classList.toggle("audible", value > 0);
    this.gain?.gain.setTargetAtTime(value, context.currentTime, RAMP / 3);
  }

  // RMS of the current output.
  level() {
    if (!this.analyser) return 0;
    const samples = new Float32Array(this.analyser.fftSize);
    this.analyser.getFloatTimeDomainData(samples);
    return Math.sqrt(samples.reduce((sum, x) => sum + x * x, 0) / samples.length);
  }

  start(when, from, loop) {
    const source = new AudioBufferSourceNode(context, { buffer: this.buffer, loop });
    const fade = new GainNode(context, { gain: 0 });
    fade.gain.setValueAtTime(0, when).linearRampToValueAtTime(1, when + RAMP);
    source.connect(fade).connect(this.gain);
    source.start(when, from);
    this.sound = { source, fade };
  }

  stop() {
    const { source, fade } = this.sound;
    const now = context.currentTime;
    fade.gain.cancelScheduledValues(now);
    fade.gain.setTargetAtTime(0, now, RAMP / 3);
    source.stop(now + 2 * RAMP);
  }
}

// All recordings of an excerpt. `this.began` is null while paused at `this.from` seconds.
class Player {
  constructor(element) {
    this.element = element;
    this.seconds = Number(element.dataset.seconds);
    this.rows = [...element.querySelectorAll(".row")].map((row) => new Row(row));
    this.playButton = element.querySelector("[data-do=play]");
    this.slider = element.querySelector("input[type=range]");
    this.time = element.querySelector(".time");
    this.status = element.querySelector(".status");
    this.options = Object.fromEntries(
      [...element.querySelectorAll("[data-option]")].map((box) => [box.dataset.option, box]),
    );
    this.began = null;
    this.from = 0;
    this.playing = false;
    this.listen();
    for (const part of element.querySelectorAll(".transport, .options")) part.hidden = false;
    this.mix();
  }

  listen() {
    this.playButton.onclick = () => this.toggle();
    this.element.querySelector("[data-do=swap]").onclick = () => this.swap();
    this.slider.oninput = () => this.seek(Number(this.slider.value));
    this.options.match.onchange = () => this.mix();
    this.options.loop.onchange = () => this.setLoop();
    for (const row of this.rows) {
      row.solo.onclick = (event) => this.solo(row, event.shiftKey);
      row.mute.onclick = () => {
        press(row.mute, !isPressed(row.mute));
        this.mix();
      };
      const strip = row.element.querySelector(".strip");
      strip.onclick = (event) => this.seek((this.seconds * event.offsetX) / strip.clientWidth);
    }
    this.element.onkeydown = (event) => this.key(event);
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const estimates = this.rows.filter((row) => row.kind === "estimate");
    const key = event.key.toLowerCase();
    if (key === "p") this.toggle();
    else if (key === "x") this.swap();
    else if (key === "0") this.soloOnly([this.rows[0]]);
    else if (estimates[key - 1]) this.soloOnly([estimates[key - 1]]);
    else return;
    event.preventDefault();
  }

  // --- audible rows

  // Solo only this row, or none if it was the only one; toggle it where rows are added.
  solo(row, adds) {
    const soloed = this.rows.filter((other) => isPressed(other.solo));
    const others = soloed.filter((other) => other !== row);
    const isIn = soloed.includes(row);
    if (adds || this.options.several.checked) this.soloOnly(isIn ? others : [...others, row]);
    else this.soloOnly(isIn && !others.length ? [] : [row]);
  }

  soloOnly(rows) {
    for (const row of this.rows) press(row.solo, rows.includes(row));
    this.mix();
  }

  // Switch between a source's truth and estimate, or between the mixture and all estimates.
  swap() {
    const [mixture] = this.rows;
    const soloed = this.rows.filter((row) => isPressed(row.solo));
    const swapped = soloed
      .filter((row) => row !== mixture)
      .map((row) => this.rows.find((other) => other.source === row.source && other !== row));
    this.soloOnly(soloed.length ? swapped : [mixture]);
  }

  mix() {
    const anySolo = this.rows.some((row) => isPressed(row.solo));
    for (const row of this.rows) {
      const chosen = anySolo ? isPressed(row.solo) : row.kind === "estimate";
      const gain = this.options.match.checked ? row.matching : 1;
      row.setGain(chosen && !isPressed(row.mute) ? gain : 0);
    }
    const audible = this.rows.filter((row) => row.target).map((row) => row.name);
    const estimates = this.rows.filter((row) => row.kind === "estimate");
    if (!audible.length) this.say("Playing nothing: all rows are muted");
    else if (!anySolo && audible.length === estimates.length) this.say("Playing: all estimates");
    else this.say(`Playing: ${audible.join("; ")}`);
  }

  say(text) {
    this.status.textContent = text;
  }

  // --- time

  position() {
    if (this.began === null) return this.from;
    const at = this.from + Math.max(context.currentTime - this.began, 0);
    return this.options.loop.checked ? at % this.seconds : Math.min(at, this.seconds);
  }

  toggle() {
    return this.playing ? this.pause() : this.play();
  }

  async play() {
    this.setPlaying(true);
    for (const other of players) if (other !== this) other.pause();
    try {
      await (this.loading ??= this.load());
      await context.resume();
      if (this.playing && this.began === null) this.start(this.from);
    } catch (error) {
      this.loading = null;
      this.setPlaying(false);
      this.say(error.message);
    }
  }

  async load() {
    audioContext();
    const { excerpt, script, megabytes } = this.element.dataset;
    this.say(`Loading ${megabytes} MB…`);
    if (!files.has(excerpt)) await run(script);
    const recordings = files.get(excerpt) ?? {};
    await Promise.all(this.rows.map((row) => row.load(recordings[row.stem])));
    files.delete(excerpt);
    this.mix();
  }

  pause() {
    this.setPlaying(false);
    if (this.began !== null) this.stop(this.position());
  }

  setPlaying(playing) {
    this.playing = playing;
    this.playButton.textContent = playing ? "Pause" : "Play";
  }

  seek(seconds) {
    const at = Math.min(Math.max(seconds, 0), this.seconds);
    if (this.began === null) {
      this.from = at;
    } else {
      this.stop(at);
      this.start(at);
    }
    this.show();
  }

  start(at) {
    this.from = at % this.seconds;
    this.began = context.currentTime + LEAD;
    for (const row of this.rows) row.start(this.began, this.from, this.options.loop.checked);
    this.show();
  }

  stop(at) {
    for (const row of this.rows) row.stop();
    this.from = at;
    this.began = null;
  }

  // Restart the clock at the position in the loop, which ignores completed rounds.
  setLoop() {
    const loop = this.options.loop.checked;
    if (this.began === null) return;
    const at = this.from + Math.max(context.currentTime - this.began, 0);
    this.from = at % this.seconds;
    this.began = Math.max(context.currentTime, this.began);
    for (const row of this.rows) row.sound.source.loop = loop;
  }

  show() {
    const at = this.position();
    this.slider.value = at;
    this.slider.setAttribute("aria-valuetext", `${at.toFixed(1)} of ${this.seconds.toFixed(1)} seconds`);
    this.time.textContent = `${at.toFixed(1)} / ${this.seconds.toFixed(1)} s`;
    this.element.style.setProperty("--at", at / this.seconds);
    for (const row of this.rows) {
      const decibels = 20 * Math.log10(this.began === null ? 0 : row.level());
      row.bar.style.setProperty("--level", Math.min(Math.max(1 + decibels / METER, 0), 1));
    }
    if (this.began === null) return;
    if (at >= this.seconds) {
      this.setPlaying(false);
      this.stop(0);
    }
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => this.show());
  }
}

for (const element of document.querySelectorAll(".player")) {
  element.player = new Player(element);
  players.push(element.player);
}
