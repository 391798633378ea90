/** Conversions of channel counts, as `waveunet separate` does them. */

const HALF = Math.SQRT1_2;
const FRONT = [
  [1, 0],
  [0, 1],
];
const CENTRE = [[HALF, HALF]];
const BACK = [
  [HALF, 0],
  [0, HALF],
];
const LOW = [[0, 0]];

/**
 * Channel count -> left and right share of each channel before normalisation, by ITU-R BS.775,
 * in the order of WAV: front left and right, centre, low frequencies (left out), back.
 *
 * @type {Record<number, number[][]>}
 */
const SHARES = {
  3: [...FRONT, ...CENTRE],
  4: [...FRONT, ...BACK],
  5: [...FRONT, ...CENTRE, ...BACK],
  6: [...FRONT, ...CENTRE, ...LOW, ...BACK],
  7: [...FRONT, ...CENTRE, ...LOW, [0.5, 0.5], ...BACK],
  8: [...FRONT, ...CENTRE, ...LOW, ...BACK, ...BACK],
};

/**
 * Mix more than two channels down to stereo; the shares of each side sum to 1.
 *
 * @param {Float32Array<ArrayBuffer>[]} channels
 * @returns {Float32Array<ArrayBuffer>[]}
 */
export function mixedDown(channels) {
  if (channels.length <= 2) return channels;
  const shares = SHARES[channels.length] ?? channels.map(() => [1, 1]);
  return [0, 1].map((side) => {
    const sum = shares.reduce((total, share) => total + share[side], 0);
    const mix = new Float32Array(channels[0].length);
    channels.forEach((samples, channel) => {
      const share = shares[channel][side] / sum;
      if (share) for (let i = 0; i < mix.length; i++) mix[i] += share * samples[i];
    });
    return mix;
  });
}

/** @param {Float32Array[]} channels */
export function averaged(channels) {
  if (channels.length === 1) return channels[0];
  return channels[0].map((_, i) => {
    const sum = channels.reduce((total, samples) => total + samples[i], 0);
    return sum / channels.length;
  });
}
