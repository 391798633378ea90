// A player of recordings in sync: transport, solo, mute, levels, keyboard. The report and the page
// that separates songs share it. A classic script, because a report opened from disk may not load
// modules.
"use strict";

const RAMP = 0.012; // seconds: inaudible as a fade, long enough to avoid clicks
const METER = 50; // dB range of a level bar

/**
 * What a player plays: the recordings of its rows.
 *
 * @typedef {object} Sound
 * @property {(player: Player) => Promise<void>} load get ready to start; connect the rows
 * @property {(at: number, loop: boolean) => void} start play from a position in seconds
 * @property {() => void} stop
 * @property {(loop: boolean) => void} setLoop change this while playing
 * @property {() => number} position seconds, while playing
 */

/** @type {Player[]} */
const players = [];

/** @param {HTMLElement} button */
function isPressed(button) {
  return button.getAttribute("aria-pressed") === "true";
}

/**
 * @param {HTMLElement} button
 * @param {boolean} pressed
 */
function press(button, pressed) {
  button.setAttribute("aria-pressed", String(pressed));
}

/** @param {unknown} error */
function messageOf(error) {
  return error instanceof Error ? error.message : String(error);
}

/**
 * Return a position in seconds, or in minutes and seconds of longer recordings.
 *
 * @param {number} seconds
 * @param {number} total
 */
function clock(seconds, total) {
  if (total < 60) return seconds.toFixed(1);
  const whole = Math.floor(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

/**
 * @template {HTMLElement} T
 * @param {HTMLElement} element
 * @param {string} selector of an element that the page must have
 * @param {{new (): T}} kind
 * @returns {T}
 */
function part(element, selector, kind) {
  const found = element.querySelector(selector);
  if (!(found instanceof kind)) throw new Error(`The player lacks ${selector}.`);
  return found;
}

// One recording. Its buttons hold the solo and mute state.
class Row {
  /** @param {HTMLElement} element */
  constructor(element) {
    this.element = element;
    const { stem = "", name = "", kind = "", source = "", matching = "1" } = element.dataset;
    this.stem = stem;
    this.name = name;
    this.kind = kind;
    this.source = source;
    this.matching = Number(matching);
    this.solo = part(element, "[data-do=solo]", HTMLButtonElement);
    this.mute = part(element, "[data-do=mute]", HTMLButtonElement);
    this.volume = element.querySelector("input[data-do=volume]");
    this.bar = part(element, ".level", HTMLElement);
    this.strip = part(element, ".strip", HTMLElement);
    this.target = 0;
    /** @type {GainNode | null} */
    this.gain = null;
    /** @type {AnalyserNode | null} */
    this.analyser = null;
  }

  /** Return the node that this row's signal goes to. @param {BaseAudioContext} context */
  connect(context) {
    this.gain = new GainNode(context, { gain: 0 });
    this.analyser = new AnalyserNode(context, { fftSize: 2048 });
    this.gain.connect(this.analyser).connect(context.destination);
    return this.gain;
  }

  /** @param {number} value */
  setGain(value) {
    this.target = value;
    this.element.classList.toggle("audible", value > 0);
    this.gain?.gain.setTargetAtTime(value, this.gain.context.currentTime, RAMP / 3);
  }

  /** The chosen volume; 1 where there is no choice. */
  chosenVolume() {
    return this.volume instanceof HTMLInputElement ? Number(this.volume.value) : 1;
  }

  /** RMS of the current output. */
  level() {
    if (!this.analyser) return 0;
    const samples = new Float32Array(this.analyser.fftSize);
    this.analyser.getFloatTimeDomainData(samples);
    return Math.sqrt(samples.reduce((sum, x) => sum + x * x, 0) / samples.length);
  }
}

// All recordings of a track. While paused, `this.from` is the position in seconds.
class Player {
  /**
   * @param {HTMLElement} element
   * @param {Sound} sound
   */
  constructor(element, sound) {
    this.element = element;
    this.sound = sound;
    this.seconds = Number(element.dataset.seconds);
    this.known = this.seconds; // up to where there are recordings
    this.isGrowing = false; // more of them will come
    this.rows = [...element.querySelectorAll(".row")].map(
      (row) => new Row(/** @type {HTMLElement} */ (row)),
    );
    this.playButton = part(element, "[data-do=play]", HTMLButtonElement);
    this.slider = part(element, ".transport input[type=range]", HTMLInputElement);
    this.time = part(element, ".time", HTMLElement);
    this.status = part(element, ".status", HTMLElement);
    /** @type {Record<string, HTMLInputElement | undefined>} */
    this.options = Object.fromEntries(
      [...element.querySelectorAll("input[data-option]")].map((box) => [
        /** @type {HTMLElement} */ (box).dataset.option,
        box,
      ]),
    );
    /** @type {Promise<void> | null} */
    this.loading = null;
    this.frame = 0;
    this.from = 0;
    this.playing = false; // as asked for
    this.running = false; // as heard
    this.listen();
    for (const each of element.querySelectorAll(".transport, .options")) {
      /** @type {HTMLElement} */ (each).hidden = false;
    }
    this.mix();
    this.show();
    players.push(this);
  }

  listen() {
    this.playButton.onclick = () => this.toggle();
    part(this.element, "[data-do=swap]", HTMLButtonElement).onclick = () => this.swap();
    this.slider.oninput = () => this.seek(Number(this.slider.value));
    const { match, loop } = this.options;
    if (match) match.onchange = () => this.mix();
    if (loop) loop.onchange = () => this.running && this.sound.setLoop(loop.checked);
    for (const row of this.rows) {
      row.solo.onclick = (event) => this.solo(row, event.shiftKey);
      row.mute.onclick = () => {
        press(row.mute, !isPressed(row.mute));
        this.mix();
      };
      if (row.volume instanceof HTMLInputElement) row.volume.oninput = () => this.mix();
      row.strip.onclick = (event) =>
        this.seek((this.seconds * event.offsetX) / row.strip.clientWidth);
    }
    this.element.onkeydown = (event) => this.key(event);
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const key = event.key.toLowerCase();
    const estimate = this.estimates()[Number(key) - 1];
    if (key === "p") this.toggle();
    else if (key === "x") this.swap();
    else if (key === "0") this.soloOnly([this.rows[0]]);
    else if (estimate) this.soloOnly([estimate]);
    else return;
    event.preventDefault();
  }

  // --- audible rows

  estimates() {
    return this.rows.filter((row) => row.kind === "estimate");
  }

  /**
   * Solo only this row, or none if it was the only one; toggle it where rows are added.
   *
   * @param {Row} row
   * @param {boolean} adds
   */
  solo(row, adds) {
    const soloed = this.rows.filter((other) => isPressed(other.solo));
    const others = soloed.filter((other) => other !== row);
    const isIn = soloed.includes(row);
    if (adds || this.options.several?.checked) this.soloOnly(isIn ? others : [...others, row]);
    else this.soloOnly(isIn && !others.length ? [] : [row]);
  }

  /** @param {Row[]} rows */
  soloOnly(rows) {
    for (const row of this.rows) press(row.solo, rows.includes(row));
    this.mix();
  }

  /** Switch between a source's truth and estimate, or between the mixture and all estimates. */
  swap() {
    const [mixture] = this.rows;
    const soloed = this.rows.filter((row) => isPressed(row.solo));
    if (!this.rows.some((row) => row.kind === "truth")) {
      return this.soloOnly(soloed.length === 1 && soloed[0] === mixture ? [] : [mixture]);
    }
    const swapped = soloed
      .filter((row) => row !== mixture)
      .flatMap((row) => this.rows.find((other) => other.source === row.source && other !== row) ?? []);
    this.soloOnly(soloed.length ? swapped : [mixture]);
  }

  mix() {
    const anySolo = this.rows.some((row) => isPressed(row.solo));
    for (const row of this.rows) {
      const chosen = anySolo ? isPressed(row.solo) : row.kind === "estimate";
      const matching = this.options.match?.checked ? row.matching : 1;
      row.setGain(chosen && !isPressed(row.mute) ? matching * row.chosenVolume() : 0);
    }
    const audible = this.rows.filter((row) => row.target).map((row) => row.name);
    const { estimates = "estimates" } = this.element.dataset;
    if (!audible.length) this.say("Playing nothing: all rows are muted");
    else if (!anySolo && audible.length === this.estimates().length) {
      this.say(`Playing: all ${estimates}`);
    } else this.say(`Playing: ${audible.join("; ")}`);
  }

  /** @param {string} text */
  say(text) {
    if (this.status.textContent !== text) this.status.textContent = text;
  }

  // --- time

  position() {
    return this.running ? this.sound.position() : this.from;
  }

  toggle() {
    return this.playing ? this.pause() : this.play();
  }

  async play() {
    this.setPlaying(true);
    for (const other of players) if (other !== this) other.pause();
    try {
      await (this.loading ??= this.sound.load(this));
      if (this.playing && !this.running) this.start(this.from);
    } catch (error) {
      this.loading = null;
      this.setPlaying(false);
      this.say(messageOf(error));
    }
  }

  pause() {
    this.setPlaying(false);
    if (this.running) this.stop(this.position());
  }

  /** @param {boolean} playing */
  setPlaying(playing) {
    this.playing = playing;
    this.playButton.textContent = playing ? "Pause" : "Play";
  }

  /** @param {number} seconds */
  seek(seconds) {
    const at = Math.min(Math.max(seconds, 0), this.known);
    if (this.running) {
      this.stop(at);
      this.start(at);
    } else {
      this.from = at;
    }
    this.show();
  }

  /** @param {number} at */
  start(at) {
    this.from = at >= this.known && !this.isGrowing ? 0 : at;
    this.running = true;
    this.sound.start(this.from, Boolean(this.options.loop?.checked));
    this.show();
  }

  /** @param {number} at */
  stop(at) {
    this.sound.stop();
    this.running = false;
    this.from = at;
  }

  /** Forget this player: another one takes its place. */
  close() {
    this.pause();
    players.splice(players.indexOf(this), 1);
  }

  show() {
    const at = this.position();
    const total = this.seconds;
    const [now, end] = [clock(at, total), clock(total, total)];
    this.slider.value = String(at);
    this.slider.setAttribute("aria-valuetext", `${now} of ${end}${total < 60 ? " seconds" : ""}`);
    this.time.textContent = `${now} / ${end}${total < 60 ? " s" : ""}`;
    this.element.style.setProperty("--at", String(at / total));
    for (const row of this.rows) {
      const decibels = 20 * Math.log10(this.running ? row.level() : 0);
      const level = Math.min(Math.max(1 + decibels / METER, 0), 1);
      row.bar.style.setProperty("--level", String(level));
    }
    if (!this.running) return;
    if (at >= this.known && !this.isGrowing) {
      this.setPlaying(false);
      this.stop(0);
    }
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => this.show());
  }
}
