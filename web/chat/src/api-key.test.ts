import { beforeEach, describe, expect, it, vi } from "vitest";
import { ApiKey, isKey, browserStorage, type KeyStorage } from "./api-key.ts";

beforeEach(() => {
  sessionStorage.clear();
  localStorage.clear();
});

describe("the key", () => {
  it("goes into the header, and is there again when the page is loaded again", () => {
    const key = new ApiKey(browserStorage("sessionStorage"));
    expect(key.headers()).toEqual({});
    key.use("secret");
    expect(key.headers()).toEqual({ Authorization: "Bearer secret" });
    expect(new ApiKey(browserStorage("sessionStorage")).headers()).toEqual({
      Authorization: "Bearer secret",
    });
  });

  it("is kept in the tab's storage only", () => {
    new ApiKey(browserStorage("sessionStorage")).use("secret");
    expect(localStorage.length).toBe(0);
    expect(document.cookie).toBe("");
    expect(location.href).not.toContain("secret");
  });

  it("can be forgotten", () => {
    const key = new ApiKey(browserStorage("sessionStorage"));
    key.use("secret");
    key.forget();
    expect(key.headers()).toEqual({});
    expect(sessionStorage.length).toBe(0);
    expect(key.getState()).toEqual({ held: false, wanted: undefined });
  });

  const full: KeyStorage = {
    getItem: () => null,
    removeItem: () => {},
    setItem: () => {
      throw new DOMException("full", "QuotaExceededError");
    },
  };

  it.each([
    ["forbidden", undefined],
    ["full", full],
  ])("lives as long as the page where storage is %s", (_, storage) => {
    const key = new ApiKey(storage);
    key.use("secret");
    expect(key.headers()).toEqual({ Authorization: "Bearer secret" });
    expect(key.getState().held).toBe(true);
  });
});

it("a storage that is null, as in a WebView without one, is no storage", () => {
  vi.stubGlobal("localStorage", null);
  expect(browserStorage("localStorage")).toBeUndefined();
  vi.unstubAllGlobals();
});

it("a refusal asks for a key, or says that the one that was sent is wrong and drops it", () => {
  const key = new ApiKey(browserStorage("sessionStorage"));
  key.refuse();
  expect(key.getState()).toEqual({ held: false, wanted: "missing" });
  key.use("wrong");
  expect(key.getState()).toEqual({ held: true, wanted: undefined });
  key.refuse();
  expect(key.getState()).toEqual({ held: false, wanted: "wrong" });
  expect(sessionStorage.length).toBe(0);
});

it("what can't stand in a header is no key", () => {
  expect(["tw_ab-c.d~1+/=", "a b", "a\nb", "clé", ""].map(isKey)).toEqual([true, false, false, false, false]);
});
