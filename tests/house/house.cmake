# SPDX-License-Identifier: GPL-3.0-or-later
mrmr_pytest(house test_floors.py test_sources.py)
