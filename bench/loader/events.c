#include <stdlib.h>
#include <string.h>

#include "loader.h"

/* `pace` writes token i as the number i in so many digits (agent_core/agents/pace.py). */
enum { TOKEN_BYTES = 5, TOKEN_MODULUS = 100000 };

static bool is_token(const char *text, uint64_t number) {
  uint64_t value = 0;
  for (int index = 0; index < TOKEN_BYTES; index++) {
    if (text[index] < '0' || text[index] > '9') return false;
    value = value * 10 + (uint64_t)(text[index] - '0');
  }
  return value == number % TOKEN_MODULUS;
}

/* Counts the tokens of a delta. RunStarted is event 1, so token i is event i + 1. */
static void take_delta(Events *events, const char *json, uint64_t first, Faults *faults) {
  const char *content = strstr(json, "\"content\":\"");
  const char *end = content ? strchr(content + 11, '"') : NULL;
  events->tokens = (uint32_t)(events->sequence - first + 1);
  if (!end || (uint64_t)(end - content - 11) != (uint64_t)events->tokens * TOKEN_BYTES ||
      !is_token(content + 11, first - 1) || !is_token(end - TOKEN_BYTES, events->sequence - 1))
    faults->wrong++;
}

static void take_order(Events *events, uint64_t first, uint64_t last, Faults *faults) {
  if (events->terminal) faults->wrong++;
  if (first > events->sequence + 1) faults->gaps++;
  if (first <= events->sequence) faults->doubles++;
  events->sequence = last;
}

static double number_after(const char *json, const char *key, double otherwise) {
  const char *found = strstr(json, key);
  return found ? strtod(found + strlen(key), NULL) : otherwise;
}

static bool is_type(const char *json, const char *type) {
  const char *found = strstr(json, "\"type\":\"");
  return found && !strncmp(found + 8, type, strlen(type)) && found[8 + strlen(type)] == '"';
}

static void take_event(Events *events, const char *json, Faults *faults) {
  uint64_t first = (uint64_t)number_after(json, "\"from\":", (double)events->id);
  take_order(events, first, events->id, faults);
  events->timestamp_ms = number_after(json, "\"timestamp\":", 0);
  events->tokens = 0;
  if (is_type(json, "text_delta")) {
    take_delta(events, json, first, faults);
  } else if (is_type(json, "done") || is_type(json, "error")) {
    events->terminal = true;
    if (is_type(json, "done")) faults->ended++;
    else faults->errors++;
  }
}

/* Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation */
bool events_line(Events *events, const char *line, Faults *faults) {
  if (!strncmp(line, "id: ", 4)) {
    const char *dot = strrchr(line, '.');
    events->id = dot ? strtoull(dot + 1, NULL, 10) : 0;
  } else if (!strncmp(line, "data: ", 6)) {
    strcpy(events->data, line + 6);
  } else if (!line[0]) {
    /* Heartbeats, `retry` and controls have no id. */
    bool is_event = events->id && events->data[0];
    if (is_event) take_event(events, events->data, faults);
    events->id = 0;
    events->data[0] = 0;
    return is_event;
  }
  return false;
}
