#define _GNU_SOURCE
#include "crowd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { REQUEST_BYTES = 4096, READ_BYTES = 65536, EVENTS_AT_ONCE = 256, STUCK_WINDOW_BYTES = 4096 };

double monotonic_s(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static double wall_ms(void) {
  struct timespec time;
  clock_gettime(CLOCK_REALTIME, &time);
  return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

static void die(const char *what) {
  perror(what);
  exit(1);
}

void crowd_start(Crowd *crowd, int streams) {
  crowd->streams = calloc((size_t)streams, sizeof *crowd->streams);
  crowd->room = streams;
  crowd->epoll = epoll_create1(EPOLL_CLOEXEC);
  if (!crowd->streams || crowd->epoll < 0) die("crowd_start");
}

static void watch(Crowd *crowd, int operation, int slot, uint32_t events) {
  struct epoll_event event = {.events = events, .data.u32 = (uint32_t)slot};
  if (epoll_ctl(crowd->epoll, operation, crowd->streams[slot].socket, &event)) die("epoll_ctl");
}

static int connect_to(int port, bool stuck) {
  int one = 1, window = STUCK_WINDOW_BYTES, descriptor = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  struct sockaddr_in address = {
      .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  if (descriptor < 0) die("socket");
  setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (stuck) setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &window, sizeof window);
  if (connect(descriptor, (struct sockaddr *)&address, sizeof address) && errno != EINPROGRESS) die("connect");
  return descriptor;
}

void crowd_open(Crowd *crowd, int slot) {
  Stream *stream = &crowd->streams[slot];
  memset(stream, 0, sizeof *stream);
  stream->number = ++crowd->opened;
  stream->socket = connect_to(crowd->plan.port, stream->number <= crowd->plan.stuck);
  stream->presence = CONNECTING;
  crowd->open++;
  crowd->not_begun++;
  watch(crowd, EPOLL_CTL_ADD, slot, EPOLLOUT);
}

static void has_begun(Crowd *crowd, Stream *stream) {
  if (!stream->begun) crowd->not_begun--;
  stream->begun = true;
}

void crowd_leave(Crowd *crowd, int slot) {
  Stream *stream = &crowd->streams[slot];
  if (stream->presence == GONE || stream->presence == ABSENT) return;
  close(stream->socket);
  stream->presence = GONE;
  crowd->open--;
  has_begun(crowd, stream); /* it is not waited for any more */
  if (crowd->to_open) {
    crowd->to_open--;
    crowd_open(crowd, slot);
  }
}

/* Writes a template with the number in the place of each @n. */
static size_t fill_in(char *out, size_t room, const char *template, int number) {
  size_t used = 0;
  for (; *template && used + 12 < room; template++) {
    if (template[0] == '@' && template[1] == 'n') {
      used += (size_t)snprintf(out + used, room - used, "%d", number);
      template++;
    } else {
      out[used++] = *template;
    }
  }
  out[used] = 0;
  return used;
}

static int write_request(char *request, int port, const char *path, const char *body, size_t body_bytes) {
  return snprintf(request, REQUEST_BYTES,
                  "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n"
                  "Accept: text/event-stream\r\nContent-Length: %zu\r\n\r\n%s",
                  path, port, body_bytes, body);
}

static void ask(Crowd *crowd, int slot) {
  Stream *stream = &crowd->streams[slot];
  const Plan *plan = &crowd->plan;
  bool stuck = stream->number <= plan->stuck;
  char body[REQUEST_BYTES / 2], request[REQUEST_BYTES];
  size_t body_bytes = fill_in(body, sizeof body, stuck ? plan->stuck_body : plan->body, stream->number);
  int bytes = write_request(request, plan->port, plan->path, body, body_bytes);
  if (write(stream->socket, request, (size_t)bytes) != bytes) die("write");
  stream->asked_s = monotonic_s();
  stream->presence = stuck ? STUCK : READING;
  if (stuck) has_begun(crowd, stream);
  watch(crowd, EPOLL_CTL_MOD, slot, stuck ? 0 : EPOLLIN);
}

void crowd_stop(Crowd *crowd, int slot) {
  char path[128], request[REQUEST_BYTES];
  snprintf(path, sizeof path, "/api/runs/%s/cancel", crowd->streams[slot].run_id);
  int bytes = write_request(request, crowd->plan.port, path, "{}", 2);
  int descriptor = connect_to(crowd->plan.port, false);
  /* A non-blocking connection to loopback is there after a moment, unless the server's backlog is full. */
  while (write(descriptor, request, (size_t)bytes) != bytes)
    if (errno != EAGAIN && errno != ENOTCONN) die("write");
}

/* ---- what comes */

typedef struct {
  Crowd *crowd;
  Stream *stream;
} Reading;

static void keep_run_id(Stream *stream, const char *line) {
  const char *dot = strchr(line + 4, '.');
  size_t bytes = dot ? (size_t)(dot - line - 4) : 0;
  if (stream->run_id[0] || !bytes || bytes >= sizeof stream->run_id) return;
  memcpy(stream->run_id, line + 4, bytes);
}

static void take_line(void *context, const char *line) {
  Reading *reading = context;
  Crowd *crowd = reading->crowd;
  Stream *stream = reading->stream;
  if (!stream->run_id[0] && !strncmp(line, "id: ", 4)) keep_run_id(stream, line);
  if (!events_line(&stream->events, line, &crowd->faults)) return;
  has_begun(crowd, stream);
  uint32_t tokens = stream->events.tokens;
  if (!tokens) return;
  if (!stream->first_token) {
    samples_add(&crowd->first_token_ms, (crowd->now_s - stream->asked_s) * 1e3);
    stream->first_token = true;
  }
  if (!crowd->counts) return;
  crowd->tokens += tokens;
  crowd->frames++;
  samples_add(&crowd->latency_ms, crowd->now_wall_ms - stream->events.timestamp_ms);
}

static void read_some(Crowd *crowd, int slot) {
  static char data[READ_BYTES];
  Stream *stream = &crowd->streams[slot];
  ssize_t bytes = read(stream->socket, data, sizeof data);
  if (bytes < 0 && errno == EAGAIN) return;
  crowd->now_s = monotonic_s();
  crowd->now_wall_ms = wall_ms();
  if (bytes > 0) {
    if (crowd->counts) crowd->bytes += (uint64_t)bytes, crowd->reads++;
    http_feed(&stream->http, data, (size_t)bytes, take_line, &(Reading){crowd, stream});
  }
  bool over = bytes <= 0 || stream->http.state == BODY_END;
  if (stream->http.status && stream->http.status != 200) {
    if (!crowd->faults.refused++) fprintf(stderr, "loader: %.*s\n", (int)bytes, data);
    over = true;
  } else if (over && !stream->events.terminal) {
    crowd->faults.cut++;
  }
  if (over || (crowd->plan.leaves_at_first_token && stream->first_token)) crowd_leave(crowd, slot);
}

static void connected(Crowd *crowd, int slot) {
  int error = 0;
  socklen_t bytes = sizeof error;
  getsockopt(crowd->streams[slot].socket, SOL_SOCKET, SO_ERROR, &error, &bytes);
  if (!error) {
    ask(crowd, slot);
    return;
  }
  if (!crowd->faults.refused++) fprintf(stderr, "loader: connect: %s\n", strerror(error));
  crowd_leave(crowd, slot);
}

void crowd_serve(Crowd *crowd, double until_s, bool (*done)(const Crowd *)) {
  struct epoll_event events[EVENTS_AT_ONCE];
  for (double left_s; (left_s = until_s - monotonic_s()) > 0 && !(done && done(crowd));) {
    int count = epoll_wait(crowd->epoll, events, EVENTS_AT_ONCE, left_s < 1e-3 ? 1 : (int)(left_s * 1e3));
    for (int index = 0; index < count; index++) {
      int slot = (int)events[index].data.u32;
      Presence presence = crowd->streams[slot].presence;
      if (presence == CONNECTING) connected(crowd, slot);
      else if (presence == READING) read_some(crowd, slot);
      else if (presence == STUCK) crowd_leave(crowd, slot); /* EPOLLERR or EPOLLHUP: it was cut off */
    }
  }
}
