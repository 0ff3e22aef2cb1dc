#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "loader.h"

static void head_line(Http *http) {
  if (!http->status) {
    const char *space = strchr(http->line, ' ');
    http->status = space ? atoi(space + 1) : -1;
  } else if (!strncasecmp(http->line, "transfer-encoding:", 18) && strstr(http->line, "chunked")) {
    http->chunked = true;
  } else if (!http->line[0]) {
    http->state = http->chunked ? CHUNK_SIZE : PLAIN_BODY;
  }
}

static void framing_line(Http *http) {
  if (http->state == HEAD) {
    head_line(http);
  } else if (http->state == CHUNK_SIZE) {
    http->left = strtoull(http->line, NULL, 16);
    http->state = http->left ? CHUNK_DATA : BODY_END;
  } else { /* the line end behind a chunk */
    http->state = CHUNK_SIZE;
  }
}

/* Adds to the present line up to its end; what a line has beyond LINE_BYTES is dropped. Returns what was taken. */
static size_t add_to_line(char *line, size_t *held, const char *data, size_t bytes, bool *complete) {
  const char *newline = memchr(data, '\n', bytes);
  size_t taken = newline ? (size_t)(newline - data) : bytes;
  size_t room = LINE_BYTES - 1 - *held, kept = taken < room ? taken : room;
  memcpy(line + *held, data, kept);
  *held += kept;
  *complete = newline != NULL;
  if (newline) {
    if (*held && line[*held - 1] == '\r') --*held;
    line[*held] = 0;
    *held = 0;
    taken++;
  }
  return taken;
}

static size_t feed_body(Http *http, const char *data, size_t bytes, LineSink sink, void *context) {
  size_t taken = 0;
  while (taken < bytes) {
    bool complete;
    taken += add_to_line(http->body_line, &http->body_line_bytes, data + taken, bytes - taken, &complete);
    if (complete) sink(context, http->body_line);
  }
  return taken;
}

void http_feed(Http *http, const char *data, size_t bytes, LineSink sink, void *context) {
  while (bytes && http->state != BODY_END) {
    size_t taken;
    if (http->state == PLAIN_BODY) {
      taken = feed_body(http, data, bytes, sink, context);
    } else if (http->state == CHUNK_DATA) {
      taken = feed_body(http, data, bytes < http->left ? bytes : http->left, sink, context);
      http->left -= taken;
      if (!http->left) http->state = CHUNK_END;
    } else {
      bool complete;
      taken = add_to_line(http->line, &http->line_bytes, data, bytes, &complete);
      if (complete) framing_line(http);
    }
    data += taken;
    bytes -= taken;
  }
}
