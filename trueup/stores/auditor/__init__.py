"""The auditor's own books: schema trueup, with plans, approvals, audit log, outbox and history."""
