import { basename } from "node:path";
import js from "@eslint/js";
import reactHooks from "eslint-plugin-react-hooks";
import globals from "globals";
import { defineConfig, globalIgnores } from "eslint/config";
import tseslint from "typescript-eslint";

const KEBAB_CASE = /^[a-z0-9]+(-[a-z0-9]+)*(\.(test|config))?\.(ts|tsx|mjs)$/;

/** @type {import("eslint").Rule.RuleModule} */
const kebabCase = {
  create: (context) => ({
    Program(node) {
      const name = basename(context.filename);
      if (!KEBAB_CASE.test(name)) context.report({ node, message: `${name} is not in kebab-case.` });
    },
  }),
};

export default defineConfig(
  globalIgnores(["**/dist", "**/dist-size"]),
  js.configs.recommended,
  reactHooks.configs.flat.recommended,
  {
    plugins: { tokenwire: { rules: { "kebab-case": kebabCase } } },
    rules: {
      eqeqeq: "error",
      "no-console": "error",
      "tokenwire/kebab-case": "error",
      "no-restricted-syntax": [
        "error",
        {
          selector:
            "JSXAttribute[name.name='dangerouslySetInnerHTML'], MemberExpression[property.name=/^(inner|outer)HTML$/]",
          message: "What a model wrote is text, never HTML.",
        },
        {
          selector: "JSXAttribute[name.name='style'] > Literal",
          message: "The content security policy blocks inline styles.",
        },
      ],
    },
  },
  {
    files: ["**/*.ts", "**/*.tsx"],
    extends: [tseslint.configs.strictTypeChecked, tseslint.configs.stylisticTypeChecked],
    languageOptions: { parserOptions: { projectService: true } },
    rules: {
      "@typescript-eslint/consistent-type-imports": ["error", { fixStyle: "inline-type-imports" }],
      "@typescript-eslint/switch-exhaustiveness-check": "error",
      // Numbers in sentences are what template strings are for.
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true }],
    },
  },
  {
    // Tests hand methods and promises about as they please; the runner awaits them.
    files: ["**/*.test.ts", "**/*.test.tsx"],
    rules: {
      "@typescript-eslint/no-confusing-void-expression": "off",
      "@typescript-eslint/no-empty-function": "off",
      "@typescript-eslint/require-await": "off",
      "@typescript-eslint/no-meaningless-void-operator": "off",
    },
  },
  { files: ["**/*.mjs"], languageOptions: { globals: globals.node } },
);
