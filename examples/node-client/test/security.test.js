import assert from "node:assert/strict";
import { test } from "node:test";
import { principalToken } from "../src/security.js";

test("a principal's token is a JWT of the contract", () => {
  // Made by another library: {"sub":"alice","aud":"tokenwire-core","iat":1763841600,"exp":1763841660}
  assert.equal(
    principalToken("alice", "k".repeat(32), 1_763_841_600),
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbGljZSIsImF1ZCI6InRva2Vud2lyZS1jb3JlIiwiaWF0IjoxNzYzODQxNjAwLCJleHAiOjE3NjM4NDE2NjB9.LzSe8UgJ-xEC71JE8y5iKF8XDp7FxmEuj_NT9S2awbc",
  );
});
