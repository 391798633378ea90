/** Opens songs: WAV files are read piece by piece, others are decoded by the browser. */

import { interleaved, openWav, wavHeader } from "./wav.js";

const BLOCK = 2 ** 19; // frames copied at a time
const USUAL_RATE = 44100;
export const LONG = 2 ** 24; // bytes of a compressed file; Chromium decodes no mp3 of two hours

/**
 * Return the samples of a song, and the WAV file that holds them.
 *
 * @param {File} file
 * @returns {Promise<{song: import("./wav.js").Wav, wav: Blob}>}
 */
export async function openSong(file) {
  if (!file.size) throw new Error(`${file.name} is empty: it has 0 bytes.`);
  const read = await openWav(file);
  const wav = read ? file : await decoded(file);
  const song = read ?? (await openWav(wav));
  if (!song?.frames) throw new Error(`${file.name} has no samples.`);
  return { song, wav };
}

/**
 * Decode a file to a WAV file of floats, at its own sample rate where that is known.
 *
 * @param {File} file
 */
async function decoded(file) {
  const bytes = await file.arrayBuffer();
  const rate = sampleRate(new Uint8Array(bytes)) ?? USUAL_RATE;
  /** @type {AudioBuffer} */
  let audio;
  try {
    audio = await new OfflineAudioContext(1, 1, rate).decodeAudioData(bytes);
  } catch (cause) {
    const reason =
      file.size > LONG
        ? "it is too long for this browser, which decodes such files as a whole, or damaged. Convert it to wav, which is read piece by piece"
        : "it is no audio file, damaged, or of a format that this browser does not decode. Convert it to wav, mp3 or flac";
    throw new Error(`${file.name} cannot be read: ${reason}.`, { cause });
  }
  /** @type {BlobPart[]} */
  const parts = [wavHeader(rate, audio.numberOfChannels, audio.length, true)];
  const channels = Array.from({ length: audio.numberOfChannels }, (_, i) => audio.getChannelData(i));
  for (let at = 0; at < audio.length; at += BLOCK) {
    parts.push(new Blob([interleaved(channels.map((each) => each.subarray(at, at + BLOCK)))]));
  }
  return new Blob(parts);
}

const MP3_RATES = [44100, 48000, 32000];

/** Format -> where its header has the sample rate. @type {((view: DataView) => number | null)[]} */
const READERS = [
  (view) => (letters(view, 0, 4) === "fLaC" ? view.getUint32(18) >>> 12 : null),
  (view) => {
    const at = letters(view, 0, 4) === "OggS" ? 28 : -1; // the first page has one segment
    if (letters(view, at, 8) === "OpusHead") return 48000;
    return letters(view, at + 1, 6) === "vorbis" ? view.getUint32(at + 12, true) : null;
  },
  (view) => {
    let at = 0;
    if (letters(view, 0, 3) === "ID3") {
      const size = [6, 7, 8, 9].reduce((sum, i) => sum * 128 + (view.getUint8(i) & 127), 0);
      at = 10 + size;
    }
    if (at + 4 > view.byteLength || view.getUint16(at) >>> 5 !== 0x7ff) return null;
    const [version, layer] = [(view.getUint8(at + 1) >> 3) & 3, (view.getUint8(at + 1) >> 1) & 3];
    const rate = MP3_RATES[(view.getUint8(at + 2) >> 2) & 3];
    if (!layer || !rate) return null;
    return rate / (version === 3 ? 1 : version === 2 ? 2 : 4);
  },
  (view) => (letters(view, 4, 4) === "ftyp" ? mp4Rate(view, 0, view.byteLength) : null),
];

/**
 * Return the time scale of the first sound of an mp4, which is its sample rate.
 *
 * @param {DataView} view
 * @param {number} at start of the boxes
 * @param {number} end
 * @returns {number | null}
 */
function mp4Rate(view, at, end) {
  /** @type {number | null} */
  let rate = null;
  while (at + 8 <= end) {
    const type = letters(view, at + 4, 4);
    const [size, long] = [view.getUint32(at), view.getUint32(at) === 1];
    const next = long ? at + Number(view.getBigUint64(at + 8)) : size ? at + size : end;
    if (next < at + 8) return null;
    if (type === "mdhd") rate = view.getUint32(at + (view.getUint8(at + 8) ? 28 : 20));
    if (type === "hdlr" && letters(view, at + 16, 4) === "soun") return rate;
    if (["moov", "trak", "mdia"].includes(type)) {
      const found = mp4Rate(view, at + 8, Math.min(next, end));
      if (found) return found;
    }
    at = next;
  }
  return null;
}

/**
 * Return the sample rate that a file's header states; null if it is not found.
 *
 * @param {Uint8Array<ArrayBuffer>} bytes
 */
export function sampleRate(bytes) {
  const view = new DataView(bytes.buffer);
  for (const read of READERS) {
    try {
      const rate = read(view);
      if (rate && rate >= 8000 && rate <= 96000) return rate;
    } catch (error) {
      if (!(error instanceof RangeError)) throw error; // beyond the end of the file
    }
  }
  return null;
}

/**
 * @param {DataView} view
 * @param {number} at
 * @param {number} length
 */
function letters(view, at, length) {
  if (at < 0 || at + length > view.byteLength) return "";
  return String.fromCharCode(...new Uint8Array(view.buffer, at, length));
}
