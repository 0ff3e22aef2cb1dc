/* crowd.c: the streams that are open, and what has come over them. */
#ifndef CROWD_H
#define CROWD_H

#include "loader.h"

typedef enum { ABSENT, CONNECTING, READING, STUCK, GONE } Presence;

typedef struct {
  int socket;
  Presence presence;
  int number;      /* from 1; in the body it replaces @n */
  double asked_s;  /* when the request was sent, monotonic */
  bool begun;       /* whether its first event has come, or none is waited for */
  bool first_token; /* whether its first token has come */
  char run_id[40];
  Http http;
  Events events;
} Stream;

typedef struct {
  const char *path, *body, *stuck_body;
  int port;
  int stuck;  /* the first so many read nothing */
  bool leaves_at_first_token;
} Plan;

typedef struct {
  Plan plan;
  Stream *streams;
  int room;              /* of `streams` */
  int opened;            /* so far, of all */
  int open, not_begun;
  int to_open;           /* more that follow those that leave */
  bool counts;           /* whether tokens count: within the window */
  uint64_t tokens, frames, bytes, reads;
  Samples latency_ms, first_token_ms;
  Faults faults;
  int epoll;
  double now_s, now_wall_ms;
} Crowd;

double monotonic_s(void);
void crowd_start(Crowd *crowd, int streams);
/* Connects the stream in a slot. */
void crowd_open(Crowd *crowd, int slot);
void crowd_leave(Crowd *crowd, int slot);
/* Handles what comes until a moment; returns earlier when `done` says so. */
void crowd_serve(Crowd *crowd, double until_s, bool (*done)(const Crowd *));
/* Posts a stop of the run in a slot, on a connection of its own whose answer is not read. */
void crowd_stop(Crowd *crowd, int slot);

#endif
