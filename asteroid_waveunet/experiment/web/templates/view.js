/** The player's rows on the page, with their waveforms. */

import { Playback } from "./playback.js";

const COLOURS = { mixture: "#c9ced6", estimate: "#6cb2f5" }; // as in the report

/**
 * @template {Element} T
 * @param {string} selector
 * @param {{new (): T}} kind
 * @param {ParentNode} [within]
 * @returns {T}
 */
export function find(selector, kind, within = document) {
  const found = within.querySelector(selector);
  if (!(found instanceof kind)) throw new Error(`The page lacks ${selector}.`);
  return found;
}

/** @param {string} id of a template with one element */
function copyOf(id) {
  const template = find(`#${id}`, HTMLTemplateElement);
  const copy = template.content.firstElementChild?.cloneNode(true);
  return /** @type {HTMLElement} */ (copy);
}

/** A waveform that is drawn as its samples arrive. */
class Waveform {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {string} colour
   * @param {number} frames of the whole song
   */
  constructor(canvas, colour, frames) {
    this.canvas = canvas;
    this.context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    this.context.fillStyle = colour;
    this.frames = frames;
    this.peaks = new Float32Array(canvas.width);
  }

  /**
   * @param {Float32Array} samples interleaved
   * @param {number} channels
   * @param {number} at index of the first frame
   */
  draw(samples, channels, at) {
    const { peaks, frames, context } = this;
    const { width, height } = this.canvas;
    const column = (/** @type {number} */ i) =>
      Math.floor(((at + Math.floor(i / channels)) * width) / frames);
    for (let i = 0; i < samples.length; i++) {
      const x = column(i);
      peaks[x] = Math.max(peaks[x], Math.abs(samples[i]));
    }
    for (let x = column(0); x <= column(samples.length - 1); x++) {
      const bar = Math.max(1, Math.min(peaks[x], 1) * height);
      context.fillRect(x, (height - bar) / 2, 1, bar);
    }
  }
}

/** The player of a song's stems, which may still grow. */
export class StemsView {
  /**
   * @param {import("./stems.js").Stems} stems
   * @param {string} title of the song
   * @param {(source: number, isFloat: boolean) => void} download
   */
  constructor(stems, title, download) {
    this.stems = stems;
    this.element = copyOf("players");
    this.element.dataset.seconds = String(stems.song.frames / stems.rate);
    this.element.setAttribute("aria-label", `Player: ${title}`);
    const slider = find(".transport input", HTMLInputElement, this.element);
    slider.max = this.element.dataset.seconds;
    const names = ["song", ...stems.sources];
    this.waveforms = names.map((name, i) => {
      const kind = i ? "estimate" : "mixture";
      const row = this.row(name, kind, (isFloat) => download(i - 1, isFloat));
      const canvas = find("canvas", HTMLCanvasElement, row);
      canvas.setAttribute("aria-label", `Waveform of ${name}`);
      return new Waveform(canvas, COLOURS[kind], stems.song.frames);
    });
    find("#player", HTMLElement).replaceChildren(this.element);
    this.playback = new Playback(stems);
    this.player = new Player(this.element, this.playback);
    this.player.known = 0;
    this.player.isGrowing = true;
    Object.assign(this.element, { player: this.player });
  }

  /**
   * @param {string} name
   * @param {string} kind
   * @param {(isFloat: boolean) => void} download
   */
  row(name, kind, download) {
    const row = copyOf("row");
    row.classList.add(kind);
    Object.assign(row.dataset, { name, kind, stem: name, source: name });
    row.setAttribute("aria-label", name);
    find(".name b", HTMLElement, row).textContent = name;
    for (const [action, words] of [["solo", "Solo"], ["mute", "Mute"], ["volume", "Volume of"]]) {
      find(`[data-do=${action}]`, HTMLElement, row).setAttribute("aria-label", `${words} ${name}`);
    }
    const files = find(".files", HTMLElement, row);
    if (kind === "mixture") files.remove();
    for (const button of files.querySelectorAll("button")) {
      const isFloat = button.dataset.bits === "float";
      button.setAttribute("aria-label", `Download ${name}, ${button.textContent} WAV`);
      button.onclick = () => download(isFloat);
    }
    this.element.append(row);
    return row;
  }

  /**
   * Show the stems' next part.
   *
   * @param {Part} part
   */
  async append(part) {
    const { stems, player } = this;
    const at = stems.frames;
    const length = part[0].length / stems.channels;
    stems.append(part);
    player.known = stems.frames / stems.rate;
    void this.playback.feed();
    const song = await stems.readSong(at, length);
    for (const [i, samples] of [song, ...part].entries()) {
      this.waveforms[i].draw(samples, stems.channels, at);
    }
  }

  /** Offer the files; no more parts follow. */
  finish() {
    this.stems.isComplete = true;
    this.player.isGrowing = false;
    void this.playback.feed();
    for (const files of this.element.querySelectorAll(".files")) {
      /** @type {HTMLElement} */ (files).hidden = false;
    }
  }

  close() {
    this.player.close();
    this.playback.close();
    this.element.remove();
  }
}
