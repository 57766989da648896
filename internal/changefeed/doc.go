// Package changefeed tells the caches of every replica what changed, within a stated time, and lets a cache know when it
// can't know.
//
//	mutation ── Note: row in change_feed + NOTIFY, in its own transaction ──▶ commit
//	                                                                            │
//	replica: one session { LISTEN; poll on NOTIFY, at least every 250 ms } ◀────┘
//	            │ what committed since the last poll, in commit order
//	            ▼
//	         Generation++ ─▶ subscribers, one after the other ─▶ lease: Fresh for 1 s from when the poll began
//
// # Invariants
//
// Fresh means: everything that committed more than a second ago has been applied here. A lease counts from before its poll
// was sent, on the monotonic clock, and only a poll extends it; NOTIFY merely makes the next poll come sooner. A replica
// that is cut off, a session that hangs and a subscriber that is slow or panics therefore all end in "not fresh" by
// themselves. Who is not fresh asks the database.
//
// A poll reads what is visible to its snapshot and was not to the last one's. A transaction that took its sequence number
// early and committed late is so read when it commits, and nothing is read twice.
//
// The position lives as long as its session. A new session begins with a reset: subscribers drop everything, for the
// server behind it may be another, or have crashed and given transaction ids again. A batch that is too large to be worth
// applying one by one is a reset too, and so is a poll that comes so late that rows it never saw may have been trimmed, as
// after a process was stopped for hours.
//
// # For caches
//
// A load that began before a change may end after the change was applied, and must not stay. Read Generation, load,
// insert, read Generation again, and remove what was inserted when it moved: the feed moves it before it tells
// subscribers, so one of the two removes the entry.
//
// It writes change_feed (Note, TrimBefore) and reads it (Feed). It does not say what a row is now, only that it changed.
package changefeed
