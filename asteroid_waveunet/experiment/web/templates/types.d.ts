// Types shared by the page's scripts; nothing here runs.

/** The contents of model.json. Sample counts are at the model's rate. */
interface Model {
  name: string;
  about: string;
  license: string | null;
  sources: string[];
  channels: number;
  sample_rate: number;
  /** Samples per call of the network, but for a song's last. */
  hop: number;
  /** The last call takes a multiple of these samples. */
  step: number;
  /** Samples by which estimates lag behind the mixture. */
  delay: number;
  network: CheckedFile & { bytes: number };
  runtime: { version: string; folder: string; module: CheckedFile; binary: CheckedFile };
  example: string;
}

interface CheckedFile {
  name: string;
  /** Hash of the contents, as in an integrity attribute. */
  integrity: string;
}

/** One part of all stems: interleaved samples, one array per source. */
type Part = Float32Array<ArrayBuffer>[];

/** From the page to the worker. */
type Order =
  | { do: "load"; model: Model; page: string; threads: number }
  | { do: "separate"; song: Blob }
  | { do: "stop" };

/** From the worker to the page. */
type Answer =
  | { is: "ready" }
  | { is: "part"; part: Part }
  | { is: "done" }
  | { is: "failed"; reason: string };

/** From the page to the mixer. Blocks belong to the latest start. */
type MixerOrder =
  | { do: "start"; at: number }
  | { do: "block"; at: number; rows: Float32Array<ArrayBuffer>[] }
  | { do: "end" }
  | { do: "stop" };

/** From the mixer to the page. */
interface MixerReport {
  /** Number of the start that it is about. */
  start: number;
  /** Index of the next frame. */
  at: number;
  isAtEnd: boolean;
}

// What the mixer finds in its scope.
declare const sampleRate: number;
declare class AudioWorkletProcessor {
  readonly port: MessagePort;
}
declare function registerProcessor(name: string, kind: new (options: any) => AudioWorkletProcessor): void;
