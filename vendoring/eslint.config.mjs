// What the pages' JavaScript is checked for beside its types. Paths are those of the checkout, from which this is run.

import js from "@eslint/js";
import globals from "globals";

export default [
  { ignores: ["api/static/vendor/"] },
  js.configs.recommended,
  {
    languageOptions: { globals: globals.browser },
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: { eqeqeq: "error", "no-var": "error", "prefer-const": "error" },
  },
];
