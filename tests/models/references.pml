/* The reference protocol of docs/objects.md for one object X: its home, its owner P, two borrowers Q and R, and the deaths of
 * any two of the three.
 *
 *     P --c1--> Q --c2--> R            calls that carry X; R's reply may carry it, too
 *     P, Q, R ==> home                 one first-in-first-out stream each, of any delay
 *
 * Tickets: 1 of c1 (P), 2 of c2 (Q), 3 of the reply to c2 (R, received by Q).
 * Safety: when the home frees X, no live process refers to it, or will when it reads what has been written to it.
 * The end: when nothing more can happen, the home holds nothing.
 *
 * Each of these variants must fail (tests/models/CMakeLists.txt):
 *   LEND_THEN_REPORT      no tickets: borrowers report after use what they keep
 *   FORGET_LENT           a callee keeps only what it still has a handle of, not what it has passed on
 *   KEEP_ONCE             a callee that has registered before does not keep again
 *   LOST_CALL_ENDS        the tickets of a call end with its callee's death, not when that has been drained
 *   NO_EARLY              a registration that overtakes its ticket is not remembered
 *   KEPT_ENDS             a ticket of a kept ref ends with the outcome, not with the registration
 *   NO_DRAIN              what a dead process held is dropped when its death is reported
 *   TICKET_NEEDS_PUBLISH  a borrower's ticket that overtakes the owner's publication is dropped
 */
#define P 0
#define Q 1
#define R 2
#ifndef DEATHS
#define DEATHS 2
#endif

mtype = { publish, ticket, outcome, register, release, drained, died };

chan home[3] = [12] of { mtype, byte, byte };  /* what, ticket or process, kept by (process + 1) */
chan pq = [1] of { bit };                      /* c1 */
chan qp = [1] of { bit };                      /* its reply: kept */
chan qr = [1] of { bit };                      /* c2 */
chan rq = [1] of { bit, bit };                 /* its reply: kept, carries X */

/* ---- processes */
bool dead[3];
bool handle[3];        /* user code has one */
bool waits[3];         /* an own call with X is not over */
bool runs[3];          /* a call from another with X is not over */
bool registered[3];
bool lent[3];          /* passed on while only a ticket of another covered it */
bool heard_p[3], heard_q[3], heard_r[3];
byte c1, c2;           /* 0: not made, 1: ticket written, 2: sent, 3: over */
byte deaths, deaths_max;

/* ---- the home */
bool published, hold[3], tick[4], early[4], gone[3], all_drained[3];
byte kept[4];
byte answers[3];       /* bit s: process s has said that this death is drained there */

#define caller(t)  (t == 1 -> P : Q)
#define sender(t)  (t == 1 -> P : (t == 2 -> Q : R))
#define nothing_held (!hold[P] && !hold[Q] && !hold[R] && !tick[1] && !tick[2] && !tick[3] && \
                      !early[1] && !early[2] && !early[3])
#define refers(x) (!dead[x] && (handle[x] || waits[x] || runs[x]))
#define on_its_way ((!dead[Q] && len(pq) > 0) || (!dead[R] && len(qr) > 0) || (!dead[Q] && (rq ?? [0, 1] || rq ?? [1, 1])))
#define reachable (refers(P) || refers(Q) || refers(R) || on_its_way)

/* ---------------------------------------------------------------- steps of processes */

#ifdef LEND_THEN_REPORT
#define TICKET(x, t) skip
#define OUTCOME(x, t, by) skip
#else
#define TICKET(x, t) home[x] ! ticket(t, 0)
#define OUTCOME(x, t, by) home[x] ! outcome(t, by)
#endif

/* Its last handle, value and call are gone. */
inline if_unreferenced(x) {
  if
  :: !handle[x] && !waits[x] && !runs[x] && registered[x] -> home[x] ! release(0, 0); registered[x] = false
  :: else
  fi
}

/* The call with ticket t from another ends: does process x keep X? Sets `keeps`. */
inline end_of_call(x, t, keeps) {
  runs[x] = false;
  keeps = handle[x] || waits[x];
#ifndef FORGET_LENT
  keeps = keeps || lent[x];
#endif
#ifdef KEEP_ONCE
  keeps = keeps && !registered[x];
#else
  keeps = keeps || registered[x];
#endif
  if
  :: keeps -> home[x] ! register(t, 0); registered[x] = true; lent[x] = false
  :: else
  fi;
  if_unreferenced(x)
}

inline lend(x, t) {
  if
  :: !registered[x] && x != P -> lent[x] = true
  :: else
  fi;
  TICKET(x, t)
}

inline lose(x, t, callee) {
#ifdef LOST_CALL_ENDS
  OUTCOME(x, t, 0)
#else
  OUTCOME(x, t, callee + 1)
#endif
}

/* The caller of what x runs is dead: x registers at once, and keeps it for a while. */
inline orphan(x, t) {
  if
  :: runs[x] ->
     runs[x] = false; handle[x] = true;
     if
     :: !registered[x] -> home[x] ! register(t, 0); registered[x] = true; lent[x] = false
     :: else
     fi
  :: else
  fi
}

inline die(x) {
  dead[x] = true; deaths++; home[x] ! died(x, 0)
}

proctype Owner() {
  bit keeps;
  handle[P] = true;
end:
  do
  :: atomic { !dead[P] && c1 == 0 -> home[P] ! publish(0, 0); lend(P, 1); waits[P] = true; c1 = 1 }
  :: atomic { !dead[P] && c1 == 1 && !heard_q[P] -> pq ! 1; c1 = 2 }
  :: atomic { !dead[P] && c1 == 1 && heard_q[P] -> OUTCOME(P, 1, 0); waits[P] = false; c1 = 3 }
  :: atomic { !dead[P] && nempty(qp) -> qp ? keeps; OUTCOME(P, 1, (keeps -> Q + 1 : 0)); waits[P] = false; c1 = 3 }
  :: atomic { !dead[P] && c1 != 0 && handle[P] && !waits[P] -> handle[P] = false; home[P] ! release(0, 0) }
  :: atomic { !dead[P] && dead[Q] && !heard_q[P] && len(qp) == 0 ->
       heard_q[P] = true;
       if
       :: c1 == 2 -> lose(P, 1, Q); waits[P] = false; c1 = 3
       :: else
       fi;
       home[P] ! drained(Q, 0) }
  :: atomic { !dead[P] && dead[R] && !heard_r[P] -> heard_r[P] = true; home[P] ! drained(R, 0) }
  :: atomic { !dead[P] && deaths < deaths_max -> die(P) }
  od
}

proctype Borrower() {
  bit keeps, kept_there, carries;
  bool replying;
end:
  do
  :: atomic { !dead[Q] && nempty(pq) -> pq ? _; runs[Q] = true }
  :: atomic { !dead[Q] && c2 == 0 && (runs[Q] || handle[Q]) -> lend(Q, 2); waits[Q] = true; c2 = 1 }
  :: atomic { !dead[Q] && c2 == 1 && !heard_r[Q] -> qr ! 1; c2 = 2 }
  :: atomic { !dead[Q] && c2 == 1 && heard_r[Q] -> OUTCOME(Q, 2, 0); waits[Q] = false; c2 = 3; if_unreferenced(Q) }
  :: atomic { !dead[Q] && nempty(rq) -> rq ? kept_there, carries;
       if
       :: carries && registered[Q] -> OUTCOME(Q, 3, 0)
       :: carries && !registered[Q] -> home[Q] ! register(3, 0); registered[Q] = true; lent[Q] = false
       :: else
       fi;
       if
       :: carries -> handle[Q] = true
       :: else
       fi;
       OUTCOME(Q, 2, (kept_there -> R + 1 : 0));
       waits[Q] = false; c2 = 3; kept_there = 0; carries = 0;
       if_unreferenced(Q) }
  :: atomic { !dead[Q] && runs[Q] && !replying && !heard_p[Q] ->
       if
       :: handle[Q] = true
       :: skip
       fi;
       end_of_call(Q, 1, keeps); replying = true }
  :: atomic { !dead[Q] && replying && !heard_p[Q] -> qp ! keeps; replying = false; keeps = 0 }
  :: atomic { !dead[Q] && handle[Q] -> handle[Q] = false; if_unreferenced(Q) }
  :: atomic { !dead[Q] && dead[P] && !heard_p[Q] && len(pq) == 0 ->
       heard_p[Q] = true; replying = false; keeps = 0; orphan(Q, 1); home[Q] ! drained(P, 0) }
  :: atomic { !dead[Q] && dead[R] && !heard_r[Q] && len(rq) == 0 ->
       heard_r[Q] = true;
       if
       :: c2 == 2 -> lose(Q, 2, R); waits[Q] = false; c2 = 3
       :: else
       fi;
       if_unreferenced(Q);
       home[Q] ! drained(R, 0) }
  :: atomic { !dead[Q] && deaths < deaths_max -> die(Q) }
  od
}

proctype SecondBorrower() {
  bit keeps, carries;
  bool replying;
end:
  do
  :: atomic { !dead[R] && nempty(qr) -> qr ? _; runs[R] = true }
  :: atomic { !dead[R] && runs[R] && !replying && !heard_q[R] ->
       if
       :: carries = 1; lend(R, 3)
       :: skip
       fi;
       if
       :: handle[R] = true
       :: skip
       fi;
       end_of_call(R, 2, keeps); replying = true }
  :: atomic { !dead[R] && replying && !heard_q[R] -> rq ! keeps, carries; replying = false; keeps = 0; carries = 0 }
  :: atomic { !dead[R] && handle[R] -> handle[R] = false; if_unreferenced(R) }
  :: atomic { !dead[R] && dead[Q] && !heard_q[R] && len(qr) == 0 ->
       heard_q[R] = true; replying = false; keeps = 0; carries = 0; orphan(R, 2); home[R] ! drained(Q, 0) }
  :: atomic { !dead[R] && dead[P] && !heard_p[R] -> heard_p[R] = true; home[R] ! drained(P, 0) }
  :: atomic { !dead[R] && deaths < deaths_max -> die(R) }
  od
}

/* ---------------------------------------------------------------- the home */

inline drop_ticket(t, d) {
  if
  :: tick[t] && (sender(t) == d || kept[t] == d + 1 || (t == 3 && d == Q)) -> tick[t] = false; kept[t] = 0
  :: else
  fi;
  if
  :: early[t] && caller(t) == d -> early[t] = false
  :: else
  fi
}

#define answered(d, o) (gone[o] || ((answers[d] >> o) & 1))

inline check_drained(d, o1, o2) {
  if
#ifdef NO_DRAIN
  :: gone[d] && !all_drained[d] ->
#else
  :: gone[d] && !all_drained[d] && answered(d, o1) && answered(d, o2) ->
#endif
     all_drained[d] = true; hold[d] = false;
     drop_ticket(1, d); drop_ticket(2, d); drop_ticket(3, d)
  :: else
  fi
}

inline take(s, what, t, by) {
  if
  :: what == publish -> published = true; hold[P] = true
  :: what == ticket ->
     if
     :: all_drained[s] || (t == 3 && all_drained[Q])
#ifdef TICKET_NEEDS_PUBLISH
     :: !(all_drained[s] || (t == 3 && all_drained[Q])) && !published && nothing_held
     :: !(all_drained[s] || (t == 3 && all_drained[Q])) && !(!published && nothing_held) ->
#else
     :: !(all_drained[s] || (t == 3 && all_drained[Q])) && gone[P] && !published && nothing_held
     :: !(all_drained[s] || (t == 3 && all_drained[Q])) && !(gone[P] && !published && nothing_held) ->
#endif
        if
        :: early[t] -> early[t] = false
        :: else -> tick[t] = true
        fi
     fi
  :: what == outcome ->
     if
#ifdef KEPT_ENDS
     :: tick[t] -> tick[t] = false
#else
     :: tick[t] && by != 0 && !all_drained[by - 1] -> kept[t] = by
     :: tick[t] && (by == 0 || all_drained[by - 1]) -> tick[t] = false
#endif
     :: !tick[t] && t == 3 && !all_drained[Q] -> early[t] = true
     :: !tick[t] && !(t == 3 && !all_drained[Q])
     fi
  :: what == register && !all_drained[s] ->
     hold[s] = true;
     if
     :: tick[t] -> tick[t] = false; kept[t] = 0
#ifndef NO_EARLY
     :: !tick[t] && !all_drained[caller(t)] -> early[t] = true
     :: !tick[t] && all_drained[caller(t)]
#else
     :: else
#endif
     fi
  :: what == register && all_drained[s]
  :: what == release -> hold[s] = false
  :: what == died -> gone[s] = true
  :: what == drained -> answers[t] = answers[t] | (1 << s)
  fi;
  check_drained(P, Q, R); check_drained(Q, P, R); check_drained(R, P, Q);
  if
  :: published && nothing_held -> assert(!reachable); published = false
  :: else
  fi
}

proctype Home() {
  mtype what;
  byte t, by;
end:
  do
  :: atomic { home[P] ? what, t, by -> take(P, what, t, by); what = 0; t = 0; by = 0 }
  :: atomic { home[Q] ? what, t, by -> take(Q, what, t, by); what = 0; t = 0; by = 0 }
  :: atomic { home[R] ? what, t, by -> take(R, what, t, by); what = 0; t = 0; by = 0 }
  od
}

init {
  atomic {
    select (deaths_max : 0 .. DEATHS);
    run Owner(); run Borrower(); run SecondBorrower(); run Home()
  };
  timeout;
  assert(nothing_held && !published)
}
