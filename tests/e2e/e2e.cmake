# SPDX-License-Identifier: GPL-3.0-or-later
mrmr_pytest(e2e_command test_command.py test_command_line.py LABELS sanitized TIMEOUT 900)
mrmr_some_under(address e2e_command "test_[rs]*")
mrmr_pytest(e2e_progress test_progress.py TIMEOUT 900)
mrmr_pytest(e2e_events test_events.py LABELS sanitized TIMEOUT 300)
