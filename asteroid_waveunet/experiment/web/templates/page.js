/** The page: takes a song, has it separated, shows its stems. */

import { openSong } from "./open.js";
import { Separator } from "./separator.js";
import { Stems } from "./stems.js";
import { StemsView, find } from "./view.js";

const SURROUND = 2; // more channels than these are mixed down
const MOST_THREADS = 8;

const message = find("#message", HTMLElement);
const notes = find("#notes", HTMLElement);
const work = find("#work", HTMLElement);
const progress = find("#progress", HTMLProgressElement);
const stopButton = find("#stop", HTMLButtonElement);
const downloads = find("#downloads", HTMLElement);

/** @param {string} selector @param {string} text */
function write(selector, text) {
  find(selector, HTMLElement).textContent = text;
}

/** @param {string} text a message; none hides it */
function complain(text) {
  message.textContent = text;
  message.hidden = !text;
}

/** @param {string} text */
function note(text) {
  const item = document.createElement("li");
  item.textContent = text;
  notes.append(item);
  notes.hidden = false;
}

/** @param {string[]} names */
function listed(names) {
  return names.length < 2 ? names.join() : `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
}

/** @param {number} bytes */
function megabytes(bytes) {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

/** @param {number} seconds */
function duration(seconds) {
  const whole = Math.ceil(seconds);
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${whole % 60} s`;
}

/**
 * Save a file under a name.
 *
 * @param {Blob} file
 * @param {string} name
 */
function save(file, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** Number of threads: those of the address (?threads=1), or as many as there are processors. */
function chosenThreads() {
  if (!crossOriginIsolated) return 1;
  const asked = Number(new URLSearchParams(location.search).get("threads"));
  return asked >= 1 ? Math.floor(asked) : Math.min(navigator.hardwareConcurrency, MOST_THREADS);
}

class Page {
  /** @param {Model} model */
  constructor(model) {
    this.model = model;
    this.threads = chosenThreads();
    this.separator = new Separator(model, this.threads);
    /** @type {StemsView | null} */
    this.view = null;
    this.title = "";
    /** The latest song that was chosen. */
    this.chosen = 0;
    this.describe();
    this.listen();
  }

  describe() {
    const { model } = this;
    write("#sources", listed(model.sources));
    document.title = `Separate a song: ${listed(model.sources)}`;
    const license = model.license ? ` License of the weights: ${model.license}.` : "";
    write(
      "#about",
      `${model.name}: ${model.about}. It works at ${model.sample_rate} Hz, with ${model.channels} ` +
        `channel${model.channels > 1 ? "s" : ""}; the download has ${megabytes(model.network.bytes)}.${license}`,
    );
    if (!crossOriginIsolated) {
      note(
        "Only one processor core is used: this page is not isolated from other sites. Its server can change that with the headers Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp; “waveunet demo” sends them.",
      );
    }
    find("#unserved", HTMLElement).hidden = true;
    find("#choose", HTMLElement).hidden = false;
  }

  listen() {
    const input = find("#file", HTMLInputElement);
    input.onchange = () => {
      const files = [...(input.files ?? [])];
      input.value = ""; // so that the same file can be chosen again
      if (files.length) this.choose(files);
    };
    find("#example", HTMLButtonElement).onclick = () => void this.example();
    stopButton.onclick = () => this.stop();
    const place = find("#choose", HTMLElement);
    window.ondragover = (event) => {
      event.preventDefault();
      place.classList.add("over");
    };
    window.ondragleave = () => place.classList.remove("over");
    window.ondrop = (event) => {
      event.preventDefault();
      place.classList.remove("over");
      this.choose([...(event.dataTransfer?.files ?? [])]);
    };
    for (const button of downloads.querySelectorAll("button")) {
      button.onclick = () => void this.downloadAll(button.dataset.bits === "float");
    }
  }

  /** @param {File[]} files the first is separated */
  choose([file, ...others]) {
    if (!file) return complain("What was dropped is no file; drop an audio file.");
    const rest = others.map((other) => other.name);
    const words = `One song at a time: ${file.name} is separated, without ${listed(rest)}.`;
    void this.separate(file, rest.length ? words : "");
  }

  async example() {
    try {
      const response = await fetch(this.model.example);
      if (!response.ok) throw new Error(`HTTP status ${response.status}`);
      await this.separate(new File([await response.blob()], this.model.example));
    } catch (error) {
      complain(`The example could not be loaded (${messageOf(error)}).`);
    }
  }

  /**
   * Separate a song and show its stems as they are computed. An earlier song is stopped as soon as
   * this one is open.
   *
   * @param {File} file
   * @param {string} notice to show meanwhile
   */
  async separate(file, notice = "") {
    const number = ++this.chosen;
    complain("");
    write("#notice", `Opening ${file.name}…`);
    try {
      const { song, wav } = await openSong(file);
      if (number !== this.chosen) return; // another was chosen meanwhile
      this.separator.stop();
      await this.separator.idle();
      if (number !== this.chosen) return;
      write("#notice", notice);
      this.show(file.name, song);
      void this.run(song, wav);
    } catch (error) {
      if (number !== this.chosen) return;
      write("#notice", "");
      complain(messageOf(error));
    }
  }

  /** Stop; what is computed can be played and downloaded. */
  stop() {
    this.separator.stop();
    if (!this.view?.stems.frames) this.close();
  }

  /** @param {string} reason */
  fail(reason) {
    complain(reason);
    this.finish();
  }

  close() {
    this.view?.close();
    this.view = null;
    work.hidden = true;
  }

  /**
   * @param {string} name of the file
   * @param {import("./wav.js").Wav} song
   */
  show(name, song) {
    this.close();
    this.title = name.replace(/\.[^.]+$/, "");
    const stems = new Stems(song, this.model.sources);
    this.view = new StemsView(stems, this.title, (source, isFloat) =>
      void this.download(source, isFloat),
    );
    write("#title", this.title);
    const mixed = `its ${song.channels} channels are mixed down to 2.`;
    write("#mixed", song.channels > SURROUND ? `${name}: ${mixed}` : "");
    work.hidden = false;
    stopButton.hidden = false;
    downloads.hidden = true;
    progress.hidden = false;
    progress.removeAttribute("value");
    write("#state", `Loading the model (${megabytes(this.model.network.bytes)}) and ONNX Runtime…`);
    this.announce("Loading the model");
  }

  /**
   * @param {import("./wav.js").Wav} song
   * @param {Blob} wav
   */
  async run(song, wav) {
    const { view } = this;
    if (!view) return;
    try {
      await this.separator.load();
      if (view !== this.view) return; // stopped, or another song
      this.announce("Separating");
      progress.value = 0;
      write("#state", "Separating…");
      const start = performance.now();
      await this.separator.separate(wav, async (part) => {
        if (!view.stems.frames) this.announce("You can listen while the rest is computed");
        await view.append(part);
        if (view === this.view) this.report(song, (performance.now() - start) / 1000);
      });
      if (view === this.view) this.finish();
    } catch (error) {
      if (view === this.view) this.fail(messageOf(error));
    }
  }

  /**
   * @param {import("./wav.js").Wav} song
   * @param {number} elapsed seconds
   */
  report(song, elapsed) {
    const done = (this.view?.stems.frames ?? 0) / song.frames;
    const speed = (done * song.frames) / song.rate / elapsed;
    progress.value = done;
    const left = duration((elapsed / done) * (1 - done));
    write("#state", `${Math.floor(100 * done)} % · ${left} left · ${speed.toFixed(1)} times real time`);
    const cores = `${this.threads} thread${this.threads > 1 ? "s" : ""}`;
    write("#speed", `The last song took ${elapsed.toFixed(1)} s (${speed.toFixed(1)} times real time, ${cores}).`);
  }

  /** Offer what is computed. */
  finish() {
    const { view } = this;
    if (!view?.stems.frames) return this.close();
    view.finish();
    stopButton.hidden = true;
    downloads.hidden = false;
    const { frames, rate, song } = view.stems;
    const isWhole = frames === song.frames;
    const text = isWhole ? "Done" : `Stopped: the stems end after ${duration(frames / rate)}`;
    progress.hidden = isWhole;
    write("#state", text);
    this.announce(text);
  }

  /** @param {string} text for screen readers */
  announce(text) {
    write("#announcement", text);
  }

  /**
   * @param {number} source
   * @param {boolean} isFloat
   */
  async download(source, isFloat) {
    const { view, title } = this;
    if (!view) return;
    try {
      const name = `${title}_${this.model.sources[source]}.wav`;
      save(await view.stems.wav(source, isFloat), name);
    } catch (error) {
      complain(`The stem could not be written (${messageOf(error)}).`);
    }
  }

  /** @param {boolean} isFloat */
  async downloadAll(isFloat) {
    for (const source of this.model.sources.keys()) await this.download(source, isFloat);
  }
}

async function open() {
  try {
    const response = await fetch("model.json");
    if (!response.ok) throw new Error(`HTTP status ${response.status}`);
    new Page(await response.json());
  } catch (error) {
    find("#unserved", HTMLElement).hidden = true;
    complain(`The page's model.json could not be loaded (${messageOf(error)}).`);
  }
}

void open();
