// The scripts of the pages: modules in the browser, and classic scripts that the report may load.
import js from "@eslint/js";
import globals from "globals";

const rules = {
  ...js.configs.recommended.rules,
  curly: ["error", "multi-line"],
  eqeqeq: "error",
  "no-implicit-globals": "off",
  "no-unused-vars": ["error", { argsIgnorePattern: "^_", varsIgnorePattern: "^(Player|RAMP|clock|messageOf|addRecordings)$" }],
  "no-var": "error",
  "prefer-const": "error",
};
const player = { Player: "readonly", RAMP: "readonly", messageOf: "readonly" };
const worklet = { AudioWorkletProcessor: "readonly", registerProcessor: "readonly", sampleRate: "readonly" };

export default [
  {
    files: ["**/report/templates/*.js"],
    languageOptions: { sourceType: "script", globals: { ...globals.browser, ...player } },
    rules: { ...rules, "no-redeclare": "off" },
  },
  {
    files: ["**/web/templates/*.js"],
    languageOptions: { sourceType: "module", globals: { ...globals.browser, ...player, ...worklet } },
    rules,
  },
];
